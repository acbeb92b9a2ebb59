//! What a restore refuses, each with its own sentence, and that the same process restores what is sound afterwards.

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use hearth_snapshot::{Capture, MemoryKind, OpenSnapshot, Ram};
use hearth_wire::vmm::{Command, SnapshotKind};
use kvm_ioctls::{Cap, Kvm};

use crate::support::{Vmm, guest};
use crate::{booted, failure, restore_spec, subdirectory, wait_count};

/// Bytes of the state before the vCPUs: two versions, and the host's boot id behind its tag.
const PREFIX_BYTES: usize = 4 + 1 + 16;
const BOOT_ID: usize = 5;

/// A full snapshot and a layer above it, of a counting guest.
fn chain(root: &Path) -> (PathBuf, PathBuf) {
    let (full, layer) = (root.join("full"), root.join("layer"));
    let mut vmm = booted(root, "counter", guest::counter());
    wait_count(root, 0x1000);
    vmm.snapshot(&full, SnapshotKind::Full);
    wait_count(root, 0x2000);
    vmm.snapshot(&layer, SnapshotKind::Layer);
    vmm.terminate();
    (full, layer)
}

fn refusal(vmm: &mut Vmm, directory: &Path, snapshot: &Path, ancestors: &[PathBuf]) -> String {
    let spec = restore_spec(directory, snapshot, ancestors);
    failure(vmm.call(Command::Restore(Box::new(spec))))
}

#[test]
fn other_devices_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let (full, _) = chain(root.path());
    let directory = subdirectory(root.path(), "clone");
    let mut spec = restore_spec(&directory, &full, &[]);
    spec.devices.balloon = true;
    let reason = failure(Vmm::spawn().call(Command::Restore(Box::new(spec))));
    assert!(
        reason.contains("[rng]") && reason.contains("[balloon, rng]"),
        "{reason}"
    );
}

#[test]
fn damage_and_swapped_parents_are_refused_each_in_its_own_words() {
    let root = tempfile::tempdir().unwrap();
    let (full, layer) = chain(root.path());
    let directory = subdirectory(root.path(), "clone");
    let mut vmm = Vmm::spawn();
    let mut refused = |ancestors: &[PathBuf]| refusal(&mut vmm, &directory, &layer, ancestors);
    let sound = [full.clone()];

    let expect = |reason: String, words: &str| assert!(reason.contains(words), "{reason}");
    for (file, at, words) in [
        ("state", 20, "header of the snapshot is corrupt"),
        ("state", 8, "has format version 0"),
        ("state", 200, "state of the machine is corrupt"),
        ("memory", 5, "memory is corrupt in chunk 0"),
        ("hashes", 12, "list of checksums is corrupt"),
    ] {
        flip(&layer.join(file), at);
        expect(refused(&sound), words);
        flip(&layer.join(file), at);
    }
    for (file, words) in [
        (layer.join("memory"), "layer/memory has 4096 bytes"),
        (full.join("memory"), "full/memory has 4096 bytes"),
        (layer.join("state"), "layer/state has 4096 bytes"),
    ] {
        let whole = fs::read(&file).unwrap();
        writable(&file).set_len(4096).unwrap();
        expect(refused(&sound), words);
        fs::write(&file, whole).unwrap();
    }
    expect(refused(&[]), "has 1 ancestors, 0 were given");
    expect(refused(std::slice::from_ref(&layer)), "the chain needs");
    let gone = [root.path().join("gone")];
    expect(refused(&gone), "cannot read");

    // With everything as it was, the process that refused restores.
    vmm.restore(restore_spec(&directory, &layer, &sound));
    wait_count(&directory, 0x3000);
    vmm.terminate();
}

#[test]
fn a_machine_that_this_host_cannot_go_on_with_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let (full, _) = chain(root.path());
    let directory = subdirectory(root.path(), "clone");
    let mut vmm = Vmm::spawn();
    let mut refused = |change: fn(&mut Vec<u8>), words: &str| {
        let changed = with_other_state(&full, change);
        let reason = refusal(&mut vmm, &directory, &changed, &[]);
        assert!(reason.contains(words), "{reason}");
        fs::remove_dir_all(changed).unwrap();
    };
    refused(|state| state[0] = 9, "the machine state has version 9.");
    refused(|state| state.truncate(3), "the machine state is cut off");
    refused(
        |state| state.truncate(900),
        "the machine state does not decode",
    );
    refused(
        |state| {
            // Made on another host, with all features of leaf 7.
            state[BOOT_ID] ^= 1;
            let leaf = find(state, &[7, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
            state[leaf + 16..leaf + 20].fill(0xff);
        },
        "this host lacks what the guest's CPUs have: CPUID 0x7.0:ebx",
    );
    refused(
        |state| {
            // Memory types that do not exist.
            let entry = find(state, &[0x77, 2, 0, 0, 0, 0, 0, 0]);
            state[entry + 8..entry + 16].fill(0xff);
        },
        "does not accept model-specific register 0x277",
    );
}

/// A counter faster than the host's is refused, unless the processor scales.
#[test]
fn a_time_stamp_counter_that_cannot_be_honoured_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let (full, _) = chain(root.path());
    let directory = subdirectory(root.path(), "clone");
    let changed = with_other_state(&full, |state| {
        // Each has its length before it.
        const ENTRY_BYTES: usize = 1 + 40;
        assert_eq!(state[PREFIX_BYTES], 1, "one vCPU");
        let (entries, behind) = varint(state, PREFIX_BYTES + 1);
        let at = behind + entries as usize * ENTRY_BYTES;
        let (_, end) = varint(state, at);
        // 9 000 000 kHz.
        state.splice(at..end, [0xc0, 0xa8, 0xa5, 0x04]);
    });
    let mut vmm = Vmm::spawn();
    if Kvm::new().unwrap().check_extension(Cap::TscControl) {
        vmm.restore(restore_spec(&directory, &changed, &[]));
        wait_count(&directory, 0x2000);
        return;
    }
    let reason = refusal(&mut vmm, &directory, &changed, &[]);
    assert!(reason.contains("ran at 9000000 kHz"), "{reason}");
}

/// The same memory with another state, sealed as a snapshot of its own beside `full`.
fn with_other_state(full: &Path, change: impl FnOnce(&mut Vec<u8>)) -> PathBuf {
    let target = full.with_file_name("changed");
    let snapshot = OpenSnapshot::open(full, &[]).unwrap();
    let mut state = snapshot.machine().to_vec();
    change(&mut state);
    let ram = Ram::restored(&snapshot).unwrap();
    let mut capture = Capture::begin(&target).unwrap();
    capture.memory(&ram, MemoryKind::Full).unwrap();
    capture.seal(state).unwrap();
    target
}

/// Where `pattern` stands in `state`.
fn find(state: &[u8], pattern: &[u8]) -> usize {
    let mut windows = state.windows(pattern.len());
    windows.position(|window| window == pattern).unwrap()
}

/// The number encoded at `at`, seven bits a byte, and where it ends.
fn varint(state: &[u8], at: usize) -> (u64, usize) {
    let length = 1 + state[at..].iter().position(|byte| *byte < 0x80).unwrap();
    let bytes = state[at..at + length].iter().rev();
    let value = bytes.fold(0, |value, byte| value << 7 | u64::from(byte & 0x7f));
    (value, at + length)
}

fn writable(file: &Path) -> fs::File {
    fs::set_permissions(file, fs::Permissions::from_mode(0o644)).unwrap();
    let mut options = fs::OpenOptions::new();
    options.read(true).write(true).open(file).unwrap()
}

/// Changes a bit of a sealed file.
fn flip(file: &Path, at: u64) {
    let file = writable(file);
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}
