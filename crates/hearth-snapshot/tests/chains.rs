//! Snapshots and chains of them, through the public interface: what was written is what comes back, and
//! every kind of damage has its own answer.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use hearth_snapshot::{
    Capture, CaptureError, MemoryKind, OpenError, OpenSnapshot, PAGE_BYTES, Problem, Ram, verify,
};
use proptest::prelude::*;

use support::{flip, open, read, take, truncate, write};

mod support;

const RAM_BYTES: u64 = 2 << 20;

/// A full snapshot and one layer above it.
fn chain(root: &Path) -> (PathBuf, PathBuf) {
    let (full, layer) = (root.join("full"), root.join("layer"));
    let ram = Ram::anonymous(RAM_BYTES).unwrap();
    write(&ram, 0, &[1; 3 * PAGE_BYTES as usize]);
    write(&ram, 100 * PAGE_BYTES, b"far");
    take(&full, &ram, MemoryKind::Full);
    let clone = Ram::restored(&open(&full, &[]).unwrap()).unwrap();
    write(&clone, PAGE_BYTES, b"changed");
    take(&layer, &clone, MemoryKind::Layer);
    (full, layer)
}

#[test]
fn a_full_snapshot_is_sparse_sealed_and_shared() {
    let root = tempfile::tempdir().unwrap();
    let (full, _) = chain(root.path());
    let memory = fs::metadata(full.join("memory")).unwrap();
    assert_eq!(memory.len(), RAM_BYTES);
    assert_eq!(memory.permissions().mode() & 0o777, 0o444);
    let sealed = take(
        &root.path().join("empty"),
        &Ram::anonymous(RAM_BYTES).unwrap(),
        MemoryKind::Full,
    );
    assert_eq!(
        sealed.memory_bytes, 0,
        "memory that nobody touched takes no space"
    );

    let snapshot = open(&full, &[]).unwrap();
    assert_eq!(snapshot.machine(), b"machine");
    let (one, other) = (
        Ram::restored(&snapshot).unwrap(),
        Ram::restored(&snapshot).unwrap(),
    );
    let before = fs::read(full.join("memory")).unwrap();
    write(&one, 0, b"mine");
    assert_eq!(
        &read(&other)[..4],
        &[1; 4],
        "a write in one clone is invisible in the other"
    );
    assert_eq!(
        fs::read(full.join("memory")).unwrap(),
        before,
        "and in the sealed file"
    );
    assert_eq!(one.private_pages().unwrap(), vec![0..1]);
    assert!(
        other.private_pages().unwrap().is_empty(),
        "reading makes nothing private"
    );
}

#[test]
fn a_layer_holds_only_what_changed() {
    let root = tempfile::tempdir().unwrap();
    let (full, layer) = chain(root.path());
    assert_eq!(
        fs::metadata(layer.join("memory")).unwrap().len(),
        PAGE_BYTES
    );
    let ram = Ram::restored(&open(&layer, &[&full]).unwrap()).unwrap();
    let bytes = read(&ram);
    assert_eq!(&bytes[PAGE_BYTES as usize..][..7], b"changed");
    assert_eq!(&bytes[..4], &[1; 4]);
    assert_eq!(&bytes[100 * PAGE_BYTES as usize..][..3], b"far");
    assert!(verify(&full).is_empty() && verify(&layer).is_empty());
}

#[test]
fn a_machine_that_goes_on_is_rebased_on_its_own_snapshot() {
    let root = tempfile::tempdir().unwrap();
    let (first, second) = (root.path().join("first"), root.path().join("second"));
    let mut ram = Ram::anonymous(RAM_BYTES).unwrap();
    write(&ram, 0, &[5; 64 << 10]);

    let mut capture = Capture::begin(&first).unwrap();
    capture.memory(&ram, MemoryKind::Full).unwrap();
    capture.rebase(&mut ram).unwrap();
    let mut early = Capture::begin(&second).unwrap();
    assert!(matches!(
        early.memory(&ram, MemoryKind::Layer),
        Err(CaptureError::NoParent)
    ));
    drop(early);
    ram.confirm(capture.seal(Vec::new()).unwrap().lineage);
    assert!(ram.private_pages().unwrap().is_empty());

    write(&ram, 9 * PAGE_BYTES, b"later");
    let sealed = take(&second, &ram, MemoryKind::Layer);
    assert_eq!(
        fs::metadata(second.join("memory")).unwrap().len(),
        PAGE_BYTES
    );
    let restored = Ram::restored(&open(&second, &[&first]).unwrap()).unwrap();
    assert_eq!(read(&restored), read(&ram));
    assert_eq!(sealed.lineage.ancestors.len(), 1);
}

#[test]
fn a_full_snapshot_of_a_clone_stands_alone() {
    let root = tempfile::tempdir().unwrap();
    let (full, layer) = chain(root.path());
    let ram = Ram::restored(&open(&layer, &[&full]).unwrap()).unwrap();
    write(&ram, 50 * PAGE_BYTES, b"own");
    let flat = root.path().join("flat");
    take(&flat, &ram, MemoryKind::Full);
    fs::remove_dir_all(&full).unwrap();
    fs::remove_dir_all(&layer).unwrap();
    assert_eq!(
        read(&Ram::restored(&open(&flat, &[]).unwrap()).unwrap()),
        read(&ram)
    );
}

#[test]
fn an_unfinished_snapshot_leaves_nothing() {
    let root = tempfile::tempdir().unwrap();
    let target = root.path().join("snapshot");
    drop(Capture::begin(&target).unwrap());
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);

    // What a crash leaves is replaced, what is sealed is not.
    fs::create_dir(root.path().join("snapshot.partial")).unwrap();
    take(
        &target,
        &Ram::anonymous(RAM_BYTES).unwrap(),
        MemoryKind::Full,
    );
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    assert!(matches!(
        Capture::begin(&target),
        Err(CaptureError::Exists(_))
    ));
}

#[test]
fn a_layer_needs_a_parent() {
    let root = tempfile::tempdir().unwrap();
    let mut capture = Capture::begin(&root.path().join("layer")).unwrap();
    let ram = Ram::anonymous(RAM_BYTES).unwrap();
    assert!(matches!(
        capture.memory(&ram, MemoryKind::Layer),
        Err(CaptureError::NoParent)
    ));
}

#[test]
fn every_kind_of_damage_has_its_own_answer() {
    type Damage = fn(full: &Path, layer: &Path);
    let damage: [(&str, Damage, &str); 9] = [
        (
            "header",
            |_, layer| flip(&layer.join("state"), 20),
            "header of the snapshot is corrupt",
        ),
        (
            "version",
            |_, layer| flip(&layer.join("state"), 8),
            "has format version 0",
        ),
        (
            "state",
            |_, layer| flip(&layer.join("state"), 140),
            "state of the machine is corrupt",
        ),
        (
            "layer",
            |_, layer| flip(&layer.join("memory"), 5),
            "memory is corrupt in chunk 0",
        ),
        (
            "hashes",
            |_, layer| flip(&layer.join("hashes"), 12),
            "list of checksums is corrupt",
        ),
        (
            "short layer",
            |_, layer| truncate(&layer.join("memory"), 100),
            "has 100 bytes",
        ),
        (
            "short state",
            |_, layer| truncate(&layer.join("state"), 150),
            "has 150 bytes",
        ),
        (
            "short full memory",
            |full, _| truncate(&full.join("memory"), 4096),
            "has 4096 bytes",
        ),
        (
            "parent's state",
            |full, _| flip(&full.join("state"), 140),
            "state of the machine is corrupt",
        ),
    ];
    for (name, break_it, expected) in damage {
        let root = tempfile::tempdir().unwrap();
        let (full, layer) = chain(root.path());
        break_it(&full, &layer);
        let message = open(&layer, &[&full]).expect_err(name).to_string();
        assert!(message.contains(expected), "{name}: {message}");
        assert!(
            !verify(&full).is_empty() || !verify(&layer).is_empty(),
            "{name}"
        );
    }
}

#[test]
fn a_corrupt_chunk_of_full_memory_is_found_by_verify() {
    let root = tempfile::tempdir().unwrap();
    let (full, _) = chain(root.path());
    flip(&full.join("memory"), 100 * PAGE_BYTES);
    assert!(
        matches!(verify(&full).as_slice(), [Problem::Corrupt { chunks, .. }] if chunks == &[1])
    );
    // A byte where a hole was is damage too.
    let (full, _) = chain(&tempfile::tempdir_in(root.path()).unwrap().keep());
    flip(&full.join("memory"), RAM_BYTES - 1);
    assert!(
        matches!(verify(&full).as_slice(), [Problem::Corrupt { chunks, .. }] if chunks == &[7])
    );
}

#[test]
fn a_swapped_parent_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let (full, layer) = chain(root.path());
    let stranger = root.path().join("stranger");
    take(
        &stranger,
        &Ram::anonymous(RAM_BYTES).unwrap(),
        MemoryKind::Full,
    );
    assert!(matches!(
        open(&layer, &[&stranger]),
        Err(OpenError::WrongParent { .. })
    ));
    assert!(matches!(
        open(&layer, &[]),
        Err(OpenError::ChainLength {
            expected: 1,
            found: 0
        })
    ));
    assert!(matches!(
        open(&full, &[&stranger]),
        Err(OpenError::ChainLength { .. })
    ));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Any history of writes, suspended and resumed step by step, ends with the memory of a machine that was
    /// never suspended.
    #[test]
    fn a_chain_equals_memory_that_was_never_suspended(
        steps in proptest::collection::vec(
            proptest::collection::vec((0..512_u64, 1..40_u64, any::<u8>()), 0..8),
            1..6,
        )
    ) {
        let root = tempfile::tempdir().unwrap();
        let reference = Ram::anonymous(RAM_BYTES).unwrap();
        let mut chain: Vec<PathBuf> = Vec::new();
        for (index, step) in steps.iter().enumerate() {
            let ram = match chain.split_last() {
                None => Ram::anonymous(RAM_BYTES).unwrap(),
                Some((last, older)) => {
                    let ancestors: Vec<PathBuf> = older.iter().rev().cloned().collect();
                    Ram::restored(&OpenSnapshot::open(last, &ancestors).unwrap()).unwrap()
                }
            };
            for (page, count, value) in step {
                let bytes = vec![*value; (count.min(&(512 - page)) * PAGE_BYTES) as usize];
                write(&ram, page * PAGE_BYTES, &bytes);
                write(&reference, page * PAGE_BYTES, &bytes);
            }
            prop_assert_eq!(read(&ram) == read(&reference), true, "after step {}", index);
            let directory = root.path().join(index.to_string());
            let kind = if index == 0 { MemoryKind::Full } else { MemoryKind::Layer };
            take(&directory, &ram, kind);
            prop_assert!(verify(&directory).is_empty());
            chain.push(directory);
        }
    }
}
