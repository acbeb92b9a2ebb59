//! Merged captures: all layers of a chain as one, on the full snapshot at its bottom.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use hearth_snapshot::{
    Capture, CaptureError, MemoryKind, PAGE_BYTES, Ram, SnapshotId, describe, verify,
};

use support::{open, read, take, write};

mod support;

const RAM_BYTES: u64 = 4 << 20;

fn page(number: u64) -> u64 {
    number * PAGE_BYTES
}

fn memory_bytes(directory: &Path) -> u64 {
    fs::metadata(directory.join("memory")).unwrap().len()
}

/// A full snapshot with data in pages 0-99, a layer that changes page 3 and clears 20-59, and one that changes 3 and 200.
fn chain_of_two(root: &Path) -> Ram {
    let ram = Ram::anonymous(RAM_BYTES).unwrap();
    write(&ram, 0, &[7; 100 * PAGE_BYTES as usize]);
    take(&root.join("full"), &ram, MemoryKind::Full);
    let ram = Ram::restored(&open(&root.join("full"), &[]).unwrap()).unwrap();
    write(&ram, page(3), b"first");
    write(&ram, page(20), &[0; 40 * PAGE_BYTES as usize]);
    take(&root.join("one"), &ram, MemoryKind::Layer);
    let one = open(&root.join("one"), &[&root.join("full")]).unwrap();
    let ram = Ram::restored(&one).unwrap();
    write(&ram, page(3), b"second");
    write(&ram, page(200), b"far");
    take(&root.join("two"), &ram, MemoryKind::Layer);
    restored_two(root)
}

fn restored_two(root: &Path) -> Ram {
    let ancestors = [root.join("one"), root.join("full")];
    let two = open(&root.join("two"), &[&ancestors[0], &ancestors[1]]).unwrap();
    Ram::restored(&two).unwrap()
}

#[test]
fn a_merged_snapshot_stands_on_the_full_one_alone() {
    let root = tempfile::tempdir().unwrap();
    let (full, merged) = (root.path().join("full"), root.path().join("merged"));
    let ram = chain_of_two(root.path());
    write(&ram, page(300), b"own");
    let before = read(&ram);
    let sealed = take(&merged, &ram, MemoryKind::Merged);
    let full_id = describe(&full).unwrap().id;
    assert_eq!(sealed.lineage.ancestors, [full_id]);
    let description = describe(&merged).unwrap();
    assert_eq!(description.ancestors, [full_id]);
    assert_eq!(description.runs, 4, "3, 20-59, 200, 300");
    assert_eq!(description.memory_bytes, page(3), "pages 3, 200 and 300");
    assert_eq!(memory_bytes(&merged), page(3));

    // Nothing of the layers is needed any more.
    fs::remove_dir_all(root.path().join("one")).unwrap();
    fs::remove_dir_all(root.path().join("two")).unwrap();
    assert!(verify(&merged).is_empty());
    let restored = Ram::restored(&open(&merged, &[&full]).unwrap()).unwrap();
    assert_eq!(read(&restored), before);
    assert!(restored.private_pages().unwrap().is_empty());
}

#[test]
fn a_merged_snapshot_of_a_clone_of_a_full_one_is_a_layer() {
    let root = tempfile::tempdir().unwrap();
    let full = root.path().join("full");
    let ram = Ram::anonymous(RAM_BYTES).unwrap();
    write(&ram, 0, b"base");
    let full_id = take(&full, &ram, MemoryKind::Full).id;
    let ram = Ram::restored(&open(&full, &[]).unwrap()).unwrap();
    write(&ram, page(9), b"changed");
    let merged = root.path().join("merged");
    let sealed = take(&merged, &ram, MemoryKind::Merged);
    assert_eq!(sealed.lineage.ancestors, [full_id]);
    assert_eq!(memory_bytes(&merged), PAGE_BYTES);
    let restored = Ram::restored(&open(&merged, &[&full]).unwrap()).unwrap();
    assert_eq!(read(&restored), read(&ram));
}

#[test]
fn fresh_memory_cannot_be_merged() {
    let root = tempfile::tempdir().unwrap();
    let mut capture = Capture::begin(&root.path().join("merged")).unwrap();
    let ram = Ram::anonymous(RAM_BYTES).unwrap();
    assert!(matches!(
        capture.memory(&ram, MemoryKind::Merged),
        Err(CaptureError::NoParent)
    ));
}

/// A machine that goes on after a merged capture: its next layer is small, its lineage short, its memory right.
#[test]
fn a_machine_goes_on_from_its_merged_snapshot() {
    let root = tempfile::tempdir().unwrap();
    let mut ram = chain_of_two(root.path());
    write(&ram, page(300), b"own");
    let (full, merged) = (root.path().join("full"), root.path().join("merged"));
    let mut capture = Capture::begin(&merged).unwrap();
    capture.memory(&ram, MemoryKind::Merged).unwrap();
    capture.rebase(&mut ram).unwrap();
    let sealed = capture.seal(Vec::new()).unwrap();
    ram.confirm(sealed.lineage.clone());
    assert!(ram.private_pages().unwrap().is_empty());
    assert_eq!(ram.lineage().unwrap().id, sealed.id);
    fs::remove_dir_all(root.path().join("one")).unwrap();
    fs::remove_dir_all(root.path().join("two")).unwrap();

    write(&ram, page(21), b"later");
    let next = root.path().join("next");
    let sealed_next = take(&next, &ram, MemoryKind::Layer);
    let full_id: SnapshotId = describe(&full).unwrap().id;
    assert_eq!(sealed_next.lineage.ancestors, [sealed.id, full_id]);
    assert_eq!(memory_bytes(&next), PAGE_BYTES);
    let restored = Ram::restored(&open(&next, &[&merged, &full]).unwrap()).unwrap();
    assert_eq!(read(&restored), read(&ram));

    // And merged once more, from the machine that went on.
    let again = root.path().join("again");
    take(&again, &ram, MemoryKind::Merged);
    let restored = Ram::restored(&open(&again, &[&full]).unwrap()).unwrap();
    assert_eq!(read(&restored), read(&ram));
}

/// Memory whose capture was never sealed has no parent; the full snapshot that it can take must hold the pages that it has
/// from the file of that capture.
#[test]
fn a_capture_that_is_not_sealed_costs_no_page() {
    for kind in [MemoryKind::Layer, MemoryKind::Merged, MemoryKind::Full] {
        let root = tempfile::tempdir().unwrap();
        let mut ram = chain_of_two(root.path());
        write(&ram, page(300), b"own");
        let before = read(&ram);
        let mut capture = Capture::begin(&root.path().join("lost")).unwrap();
        capture.memory(&ram, kind).unwrap();
        capture.rebase(&mut ram).unwrap();
        drop(capture);
        assert_eq!(read(&ram), before);
        let full = root.path().join("again");
        take(&full, &ram, MemoryKind::Full);
        let restored = Ram::restored(&open(&full, &[]).unwrap()).unwrap();
        assert!(read(&restored) == before, "{kind:?}");
    }
}
