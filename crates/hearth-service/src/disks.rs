//! Disk usage of this host by owner, read from the node's records and the files themselves.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use async_trait::async_trait;
use hearth_control::id::MicrovmId;
use hearth_front::{Disks, Holding, HoldingKind};
use hearth_host::{LocalHost, Origin, build_of};
use hearth_image::BaseSet;
use hearth_node::{Purpose, with_causes};

/// Disk usage of a host, for the front.
pub(crate) struct HostDisks(pub(crate) LocalHost);

#[async_trait]
impl Disks for HostDisks {
    async fn holdings(&self) -> Result<Vec<Holding>, String> {
        let host = self.0.clone();
        // There may be thousands of files.
        let walk = tokio::task::spawn_blocking(move || holdings(&host));
        walk.await.map_err(|error| error.to_string())?
    }
}

/// Adds up files, each once: a sealed disk has two names while its microVM runs on.
#[derive(Default)]
struct Taken(HashSet<(u64, u64)>);

impl Taken {
    /// Bytes that a file or a directory tree takes on disk. A file that vanishes meanwhile counts nothing.
    fn by(&mut self, path: &Path) -> u64 {
        let Ok(metadata) = path.symlink_metadata() else {
            return 0;
        };
        if metadata.is_dir() {
            let entries = fs::read_dir(path).into_iter().flatten().flatten();
            return entries.map(|entry| self.by(&entry.path())).sum();
        }
        match self.0.insert((metadata.dev(), metadata.ino())) {
            true => metadata.blocks() * 512,
            false => 0,
        }
    }
}

fn holding(kind: HoldingKind, name: String, bytes: u64) -> Holding {
    Holding {
        kind,
        name,
        version: None,
        guest_base: None,
        base_images: None,
        is_current: None,
        bytes,
    }
}

fn holdings(host: &LocalHost) -> Result<Vec<Holding>, String> {
    let (node, version_builder) = (host.node(), host.version_builder());
    let mut taken = Taken::default();
    let mut holdings = of_snapshots_and_instances(host, &mut taken);
    let caches = version_builder.caches.usage();
    let caches = caches.map_err(|error| error.to_string())?;
    holdings.extend(
        caches
            .into_iter()
            .map(|(account, bytes)| holding(HoldingKind::LayerCache, account, bytes)),
    );
    let bases = &version_builder.bases;
    let sets = BaseSet::list(bases.directory()).map_err(|error| error.to_string())?;
    holdings.extend(sets.into_iter().map(|set| Holding {
        is_current: Some(set.id == bases.id),
        ..holding(HoldingKind::BaseImages, set.id, taken.by(&set.directory))
    }));
    let data = node.layout().data();
    let guests = hearth_base::list(data).map_err(|error| with_causes(&error))?;
    holdings.extend(guests.into_iter().map(|base| Holding {
        is_current: Some(base.id == version_builder.base.id),
        ..holding(
            HoldingKind::GuestBase,
            base.id.clone(),
            taken.by(&data.join("base").join(&base.id)),
        )
    }));
    Ok(holdings)
}

/// Disk usage of versions, builds in progress, and microVMs.
fn of_snapshots_and_instances(host: &LocalHost, taken: &mut Taken) -> Vec<Holding> {
    let (node, version_builder) = (host.node(), host.version_builder());
    let mut builds = BTreeMap::new();
    let mut booted = Vec::new();
    let mut microvms: BTreeMap<MicrovmId, (u64, bool)> = BTreeMap::new();
    for snapshot in node.snapshots() {
        let bytes = taken.by(&node.layout().snapshot(snapshot.id));
        let machine = &snapshot.record.machine;
        if snapshot.record.purpose == Purpose::Booted {
            booted.push(holding(HoldingKind::BootTemplate, machine.clone(), bytes));
        } else if let Some(build) = build_of(machine) {
            *builds.entry(build).or_insert(0) += bytes;
        } else if let Ok(id) = machine.parse() {
            microvms.entry(id).or_default().0 += bytes;
        }
    }
    for (name, record) in node.machines() {
        let bytes = taken.by(&node.layout().machine(&name));
        let name = name.to_string();
        if let Some(build) = build_of(&name) {
            *builds.entry(build).or_insert(0) += bytes;
        } else if let Ok(id) = name.parse() {
            let microvm = microvms.entry(id).or_default();
            *microvm = (microvm.0 + bytes, record.process.is_alive());
        }
    }
    for build in version_builder.left_behind() {
        *builds.entry(build).or_insert(0) += taken.by(&version_builder.place(build));
    }
    let microvms = microvms.into_iter().map(|(id, (bytes, runs))| Holding {
        is_current: Some(runs),
        ..holding(HoldingKind::Microvm, id.to_string(), bytes)
    });
    let builds = builds.into_iter().map(|(build, bytes)| {
        match Origin::read(&version_builder.place(build)) {
            Some(origin) => Holding {
                version: Some(origin.version),
                guest_base: Some(origin.guest_base),
                base_images: Some(origin.base_images),
                ..holding(HoldingKind::Version, origin.image, bytes)
            },
            None => holding(HoldingKind::Build, build.to_string(), bytes),
        }
    });
    microvms.chain(builds).chain(booted).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_two_names_is_counted_once() {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("in")).unwrap();
        fs::write(place.path().join("in/a"), vec![1; 8192]).unwrap();
        fs::hard_link(place.path().join("in/a"), place.path().join("b")).unwrap();
        let mut taken = Taken::default();
        assert_eq!(taken.by(place.path()), 8192);
        assert_eq!(taken.by(&place.path().join("b")), 0);
        assert_eq!(taken.by(&place.path().join("gone")), 0);
    }
}
