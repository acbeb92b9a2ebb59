//! Chains that end: merged snapshots, refused layers, disks whose images are folded.

use std::fs;
use std::path::{Path, PathBuf};

use hearth_snapshot::{describe, verify};
use hearth_vmm::virtio::block::{DiskFormat, create_overlay};
use hearth_wire::vmm::{
    Command, DiskImage, DiskSpec, EndReason, Phase, Refusal, Reply, SnapshotKind, SnapshotSpec,
};
use imago::file::File as ImageFile;
use imago::qcow2::Qcow2;
use imago::raw::Raw;
use imago::{FormatAccess, FormatDriverBuilder, PermissiveImplicitOpenGate};

use crate::support::{Vmm, guest};
use crate::{boot_spec, booted, counts, failure, restore_spec, subdirectory, wait_count};

/// Layers that a chain may have.
const LAYERS_MAX: usize = 16;

fn refusal(reply: &Reply) -> Option<Refusal> {
    match reply {
        Reply::Failed {
            machine_intact: true,
            refusal,
            ..
        } => *refusal,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[test]
fn a_machine_goes_on_from_a_merged_snapshot_and_so_does_its_clone() {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name);
    let mut vmm = booted(root.path(), "counter", guest::counter());
    wait_count(root.path(), 0x1000);
    vmm.snapshot(&path("full"), SnapshotKind::Full);
    for (index, count) in [0x2000, 0x3000].into_iter().enumerate() {
        wait_count(root.path(), count);
        vmm.snapshot(&path(&format!("layer-{index}")), SnapshotKind::Layer);
    }
    wait_count(root.path(), 0x4000);
    assert_eq!(vmm.call(Command::Pause), Reply::Done);
    let at_merge = *counts(root.path()).last().unwrap();
    let summary = vmm.snapshot(&path("merged"), SnapshotKind::Merged);
    assert_eq!(vmm.call(Command::Resume), Reply::Done);
    let full = describe(&path("full")).unwrap().id;
    let merged = describe(&path("merged")).unwrap();
    assert_eq!(merged.ancestors, [full]);
    assert_eq!(merged.runs as u64, summary.runs);
    assert!(summary.memory_bytes < 4 << 20, "{summary:?}");
    fs::remove_dir_all(path("layer-0")).unwrap();
    fs::remove_dir_all(path("layer-1")).unwrap();

    // The machine itself: its next layer stands on the merged one, and is small.
    wait_count(root.path(), at_merge + 0x1000);
    let summary = vmm.suspend(&path("next"));
    assert!(summary.memory_bytes < 2 << 20, "{summary:?}");
    let ancestors = describe(&path("next")).unwrap().ancestors;
    assert_eq!(ancestors, [merged.id, full]);
    let last = *counts(root.path()).last().unwrap();

    for (name, from, chain) in [
        ("clone", at_merge, vec!["merged", "full"]),
        ("self", last, vec!["next", "merged", "full"]),
    ] {
        let chain: Vec<PathBuf> = chain.into_iter().map(path).collect();
        let directory = subdirectory(root.path(), name);
        let mut vmm = Vmm::spawn();
        vmm.restore(restore_spec(&directory, &chain[0], &chain[1..]));
        let first = wait_count(&directory, from + 0x2000)[0];
        assert!(
            first >= from && first - from <= 0x2000,
            "{name}: after {from:x} came {first:x}"
        );
        vmm.terminate();
    }
}

#[test]
fn a_chain_that_is_full_refuses_a_layer_and_takes_a_merged_one() {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name);
    let mut vmm = booted(root.path(), "counter", guest::counter());
    let suspend = |directory: &str, kind| {
        Command::Suspend(SnapshotSpec {
            directory: path(directory),
            kind,
            next_overlays: Vec::new(),
            fold: Vec::new(),
        })
    };
    for kind in [SnapshotKind::Layer, SnapshotKind::Merged] {
        let reply = vmm.call(suspend("orphan", kind));
        assert_eq!(refusal(&reply), Some(Refusal::NoParent));
    }
    vmm.snapshot(&path("full"), SnapshotKind::Full);
    for index in 0..LAYERS_MAX {
        vmm.snapshot(&path(&format!("layer-{index}")), SnapshotKind::Layer);
    }
    let reply = vmm.call(suspend("too-long", SnapshotKind::Layer));
    assert_eq!(refusal(&reply), Some(Refusal::ChainTooLong));
    assert!(failure(reply).contains("already has 16 layers"));
    assert_eq!(vmm.status().phase, Phase::Running);
    let from = counts(root.path()).last().copied().unwrap_or(0);
    wait_count(root.path(), from + 0x1000);
    assert!(!path("too-long").exists());

    assert!(matches!(
        vmm.call(suspend("merged", SnapshotKind::Merged)),
        Reply::Snapshot(_)
    ));
    assert_eq!(vmm.wait_end().0, EndReason::Suspended);
    let last = *counts(root.path()).last().unwrap();
    let directory = subdirectory(root.path(), "next");
    let mut vmm = Vmm::spawn();
    vmm.restore(restore_spec(&directory, &path("merged"), &[path("full")]));
    wait_count(&directory, last + 0x2000);
    vmm.terminate();
}

/// What a node knows to be verified is not read again.
#[test]
fn a_verified_layer_is_restored_without_its_checksums() {
    let root = tempfile::tempdir().unwrap();
    let (full, layer) = (root.path().join("full"), root.path().join("layer"));
    let mut vmm = booted(root.path(), "counter", guest::counter());
    wait_count(root.path(), 0x1000);
    vmm.snapshot(&full, SnapshotKind::Full);
    let summary = vmm.suspend(&layer);
    let last = *counts(root.path()).last().unwrap();
    fs::remove_file(layer.join("hashes")).unwrap();
    let directory = subdirectory(root.path(), "again");
    let mut spec = restore_spec(&directory, &layer, &[full]);
    let mut vmm = Vmm::spawn();
    let refused = failure(vmm.call(Command::Restore(Box::new(spec.clone()))));
    assert!(refused.contains("hashes"), "{refused}");
    spec.verified = vec![summary.id];
    vmm.restore(spec);
    wait_count(&directory, last + 0x2000);
    vmm.terminate();
}

const DISK_BYTES: u64 = 4 << 20;

fn open_stack(layers: &[&Path], is_writable: bool) -> FormatAccess<ImageFile> {
    let (base, overlays) = layers.split_first().unwrap();
    let base = Raw::<ImageFile>::builder_path(base)
        .open(PermissiveImplicitOpenGate::default())
        .unwrap();
    let mut top = FormatAccess::new(base);
    for (index, layer) in overlays.iter().enumerate() {
        let image = Qcow2::<ImageFile>::builder_path(layer)
            .write(is_writable && index + 1 == overlays.len())
            .backing(Some(top))
            .data_file(None)
            .open(PermissiveImplicitOpenGate::default())
            .unwrap();
        top = FormatAccess::new(image);
    }
    top
}

fn content(layers: &[&Path]) -> Vec<u8> {
    let mut bytes = vec![0; DISK_BYTES as usize];
    open_stack(layers, false).read(&mut bytes, 0).unwrap();
    bytes
}

fn snapshot_of_disk(
    directory: PathBuf,
    kind: SnapshotKind,
    next: PathBuf,
    fold: &[u16],
) -> Command {
    Command::Snapshot(SnapshotSpec {
        directory,
        kind,
        next_overlays: vec![next],
        fold: fold.to_vec(),
    })
}

/// A disk of a base and two images under its overlay; both are folded, then deleted, and the machine and its clone go on.
#[test]
fn the_images_below_a_disk_are_folded_into_its_snapshot() {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name);
    let base = path("base");
    fs::write(&base, vec![1; DISK_BYTES as usize]).unwrap();
    create_overlay(&path("one"), DISK_BYTES, Some((&base, DiskFormat::Raw))).unwrap();
    let one = open_stack(&[&base, &path("one")], true);
    one.write(&[2; 100_000][..], 300_000).unwrap();
    one.write_zeroes(1 << 20, 64 << 10).unwrap();
    drop(one);
    create_overlay(
        &path("two"),
        DISK_BYTES,
        Some((&path("one"), DiskFormat::Qcow2)),
    )
    .unwrap();
    let two = open_stack(&[&base, &path("one"), &path("two")], true);
    two.write(&[3; 20_000][..], 350_000).unwrap();
    drop(two);
    let before = content(&[&base, &path("one"), &path("two")]);

    let disk = |overlay: &str, backing: &[PathBuf]| DiskSpec {
        serial: "data".into(),
        image: DiskImage::Overlay {
            path: path(overlay),
            backing: backing.to_vec(),
        },
        rate_limit: None,
        is_replaced: false,
    };
    let mut spec = boot_spec(root.path(), "counter", guest::counter());
    spec.devices.disks = vec![disk("top-0", &[path("two"), path("one"), base.clone()])];
    let mut vmm = Vmm::spawn();
    vmm.boot(spec);
    for (fold, words) in [
        (&[3][..], "has 2 images that can be folded"),
        (&[1, 1][..], "given for 2 of 1 writable disks"),
    ] {
        let refused = snapshot_of_disk(path("full"), SnapshotKind::Full, path("top-1"), fold);
        let reason = failure(vmm.call(refused));
        assert!(reason.contains(words), "{reason}");
    }
    // A snapshot that fails after the images were folded leaves the stack as it was.
    let failed = snapshot_of_disk(path("full"), SnapshotKind::Full, path("base"), &[2]);
    failure(vmm.call(failed));
    let folded = snapshot_of_disk(path("full"), SnapshotKind::Full, path("top-1"), &[2]);
    assert!(matches!(vmm.call(folded), Reply::Snapshot(_)));
    fs::remove_file(path("one")).unwrap();
    fs::remove_file(path("two")).unwrap();
    let sealed = path("full").join("disk-0.qcow2");
    assert!(content(&[&base, &sealed]) == before);
    assert!(verify(&path("full")).is_empty());

    // The machine stands on the sealed file and the base: one image can be folded, and no more.
    let too_deep = snapshot_of_disk(path("layer"), SnapshotKind::Layer, path("top-2"), &[2]);
    assert!(failure(vmm.call(too_deep)).contains("has 1 images"));
    let folded = snapshot_of_disk(path("layer"), SnapshotKind::Layer, path("top-2"), &[1]);
    assert!(matches!(vmm.call(folded), Reply::Snapshot(_)));
    let sealed = path("layer").join("disk-0.qcow2");
    assert!(content(&[&base, &sealed]) == before);
    let from = *counts(root.path()).last().unwrap();
    wait_count(root.path(), from + 0x1000);
    vmm.terminate();

    let directory = subdirectory(root.path(), "clone");
    let mut spec = restore_spec(&directory, &path("layer"), &[path("full")]);
    spec.devices.disks = vec![disk("clone/top", &[sealed, base])];
    let mut vmm = Vmm::spawn();
    vmm.restore(spec);
    wait_count(&directory, from + 0x2000);
    vmm.terminate();
}
