//! Decides which kind of snapshot an instance's next one is, so that chains stay bounded.
//!
//! ```text
//!   full ◄── layer ◄── layer ◄── ... ◄── layer          each holds what changed since the one before
//!   full ◄── merged                                     all of them folded into one, their disks too
//!   full'                                               everything anew
//! ```
//!
//! The next snapshot folds a chain that has reached one of three limits. Length: each layer costs open files, and
//! losing it loses everything above it. Runs of the memory map: each run is a mapping of the restored process. Size:
//! the layers hold more bytes than the full snapshot below them. A single merged layer that is larger than its full
//! snapshot is replaced by a new full one.
//!
//! The VMM folds while it seals, when all pages and disks are at hand. A merge in the background would need a second
//! process that reads files written by a guest's VMM, and would race with the next wake.

use std::sync::Arc;

use hearth_wire::vmm::SnapshotKind;

use crate::index::SnapshotInfo;
use crate::node::Node;
use crate::record::{DiskStack, MachineRecord, Purpose};

/// Limits beyond which the chain below an instance is folded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainLimits {
    /// Most layers above a full snapshot.
    pub layers: usize,
    /// Number of runs in the merged memory map from which the next snapshot folds it. The format allows twice as many.
    pub runs: usize,
}

impl Default for ChainLimits {
    fn default() -> Self {
        Self {
            layers: 16,
            runs: 32_768,
        }
    }
}

/// The kind of the next snapshot, and the images to fold into each disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) kind: SnapshotKind,
    /// For each writable disk, how many of the images below it are folded into what is sealed.
    pub(crate) folds: Vec<u16>,
}

/// The measures of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Chain {
    layers: usize,
    runs: usize,
    layer_bytes: u64,
    full_bytes: u64,
}

/// Plans the next snapshot of an instance.
pub(crate) fn plan(node: &Node, machine: &MachineRecord) -> Plan {
    let Some(parent) = parent(node, machine) else {
        return unfolded(machine, SnapshotKind::Full);
    };
    if parent.record.purpose == Purpose::Booted {
        // It is as small as what comes above it is large, and its disks are others.
        return unfolded(machine, SnapshotKind::Full);
    }
    let kind = kind_above(measure(node, &parent), node.options().chain);
    of_kind(node, machine, &parent, kind)
}

/// Plans the snapshot to try after the VMM refused `refused`. `None` after a full one.
pub(crate) fn next_plan(
    node: &Node,
    machine: &MachineRecord,
    refused: SnapshotKind,
) -> Option<Plan> {
    let parent = parent(node, machine)?;
    let kind = match refused {
        SnapshotKind::Layer => SnapshotKind::Merged,
        SnapshotKind::Merged => SnapshotKind::Full,
        SnapshotKind::Full => return None,
    };
    Some(of_kind(node, machine, &parent, kind))
}

fn kind_above(chain: Chain, limits: ChainLimits) -> SnapshotKind {
    let is_heavy = chain.layer_bytes > chain.full_bytes;
    if chain.layers == 1 && is_heavy {
        return SnapshotKind::Full;
    }
    let is_at_end = chain.layers >= limits.layers || chain.runs >= limits.runs;
    match chain.layers > 1 && (is_at_end || is_heavy) {
        true => SnapshotKind::Merged,
        false => SnapshotKind::Layer,
    }
}

fn of_kind(
    node: &Node,
    machine: &MachineRecord,
    parent: &SnapshotInfo,
    kind: SnapshotKind,
) -> Plan {
    if kind == SnapshotKind::Layer {
        return unfolded(machine, kind);
    }
    let bottom = node.records().snapshot(parent.bottom());
    let stacks = bottom.as_ref().map(|bottom| bottom.record.disks.as_slice());
    let disks = machine.disks.iter().enumerate();
    let folds = disks
        .filter(|(_, disk)| disk.is_writable)
        .map(|(index, disk)| folded(disk, stacks.and_then(|stacks| stacks.get(index))))
        .collect();
    Plan { kind, folds }
}

/// Number of sealed overlays of an instance's disk above those of the full snapshot at the bottom of the chain.
fn folded(disk: &DiskStack, bottom: Option<&DiskStack>) -> u16 {
    let kept = bottom.map_or(&[][..], |bottom| &bottom.sealed);
    if !disk.sealed.ends_with(kept) {
        return 0;
    }
    u16::try_from(disk.sealed.len() - kept.len()).unwrap_or(u16::MAX)
}

fn unfolded(machine: &MachineRecord, kind: SnapshotKind) -> Plan {
    let writable = machine.disks.iter().filter(|disk| disk.is_writable).count();
    Plan {
        kind,
        folds: vec![0; writable],
    }
}

fn parent(node: &Node, machine: &MachineRecord) -> Option<Arc<SnapshotInfo>> {
    let id = machine.parent.as_ref()?.parse().ok()?;
    node.records().snapshot(id)
}

fn measure(node: &Node, parent: &SnapshotInfo) -> Chain {
    let bytes = |info: &SnapshotInfo| {
        let shape = info.record.shape.as_ref();
        shape.map_or(0, |shape| shape.memory_bytes)
    };
    let layers = parent.ancestors.len();
    let mut chain = Chain {
        layers,
        runs: parent.record.shape.as_ref().map_or(0, |shape| shape.runs),
        layer_bytes: if layers == 0 { 0 } else { bytes(parent) },
        // Of one whose size was not noted, nothing is known; no chain is too heavy for it.
        full_bytes: u64::MAX,
    };
    for (index, id) in parent.ancestors.iter().enumerate() {
        let Some(ancestor) = node.records().snapshot(*id) else {
            continue;
        };
        match index + 1 == layers {
            true if ancestor.record.shape.is_some() => chain.full_bytes = bytes(&ancestor),
            true => {}
            false => chain.layer_bytes += bytes(&ancestor),
        }
    }
    chain
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: ChainLimits = ChainLimits {
        layers: 4,
        runs: 100,
    };

    fn chain(layers: usize, runs: usize, layer_bytes: u64) -> Chain {
        Chain {
            layers,
            runs,
            layer_bytes,
            full_bytes: 1000,
        }
    }

    #[test]
    fn a_chain_is_folded_at_each_of_its_limits() {
        let kind = |chain| kind_above(chain, LIMITS);
        assert_eq!(kind(chain(0, 0, 0)), SnapshotKind::Layer);
        assert_eq!(kind(chain(3, 99, 1000)), SnapshotKind::Layer);
        assert_eq!(kind(chain(4, 0, 0)), SnapshotKind::Merged);
        assert_eq!(kind(chain(2, 100, 0)), SnapshotKind::Merged);
        assert_eq!(kind(chain(2, 0, 1001)), SnapshotKind::Merged);
    }

    #[test]
    fn what_was_just_folded_is_not_folded_again_and_a_heavy_one_is_made_anew() {
        let kind = |chain| kind_above(chain, LIMITS);
        assert_eq!(kind(chain(1, 100, 0)), SnapshotKind::Layer);
        assert_eq!(kind(chain(1, 0, 1001)), SnapshotKind::Full);
    }

    #[test]
    fn disks_are_folded_down_to_those_of_the_full_snapshot() {
        let sealed = |names: &[&str]| DiskStack {
            serial: "d".to_owned(),
            base: "/base".into(),
            overlays: Vec::new(),
            is_writable: true,
            sealed: names
                .iter()
                .map(|name| ((*name).to_owned(), "disk-0.qcow2".to_owned()))
                .collect(),
        };
        let bottom = sealed(&["t"]);
        assert_eq!(folded(&sealed(&["c", "b", "t"]), Some(&bottom)), 2);
        assert_eq!(folded(&sealed(&["t"]), Some(&bottom)), 0);
        assert_eq!(folded(&sealed(&["c", "b"]), None), 2);
        assert_eq!(folded(&sealed(&["c", "x"]), Some(&bottom)), 0);
    }
}
