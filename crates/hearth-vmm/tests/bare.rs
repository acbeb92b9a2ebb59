//! The VMM with bare-metal guests: life and death, snapshots, clones; [`sealing`], [`refusals`], [`attacks`], [`merges`].
//!
//! Needs `/dev/kvm`; run with `cargo xtask lab`, or by nextest through the runner.

#![allow(clippy::unwrap_used)]

mod attacks;
mod merges;
mod refusals;
mod sealing;
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hearth_wire::vmm::{
    BootSpec, Command, DeviceSpec, DiskImage, DiskSpec, EndReason, GuestClock, PageRange, Phase,
    Reply, RestoreSpec, SnapshotKind, SnapshotSpec, VsockSpec,
};
use support::guest;
use support::{Vmm, serial_log, wait_serial};

/// The VMM side of every other test; see `support`.
#[test]
fn vmm_process() {
    support::vmm_process();
}

fn boot_spec(directory: &Path, name: &str, code: &[u8]) -> BootSpec {
    BootSpec {
        kernel: guest::kernel(directory, name, code),
        initramfs: None,
        command_line: String::new(),
        vcpus: 1,
        memory_mib: 64,
        devices: DeviceSpec {
            serial_log: Some(serial_log(directory)),
            ..DeviceSpec::default()
        },
    }
}

fn restore_spec(directory: &Path, snapshot: &Path, ancestors: &[PathBuf]) -> RestoreSpec {
    RestoreSpec {
        snapshot: snapshot.to_owned(),
        ancestors: ancestors.to_vec(),
        verified: Vec::new(),
        devices: DeviceSpec {
            serial_log: Some(serial_log(directory)),
            ..DeviceSpec::default()
        },
        generation_id: Some(7),
        prefetch: Vec::new(),
        run: true,
        clock: GuestClock::Stands,
    }
}

fn booted(directory: &Path, name: &str, code: &[u8]) -> Vmm {
    let mut vmm = Vmm::spawn();
    vmm.boot(boot_spec(directory, name, code));
    vmm
}

/// All counts in the serial log so far. A line that a snapshot cut in two is in no log as a whole.
fn counts(directory: &Path) -> Vec<u32> {
    const DIGITS: usize = 8;
    let log = fs::read_to_string(directory.join("serial")).unwrap_or_default();
    let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let whole = whole.lines().filter(|line| line.len() == DIGITS);
    whole
        .map(|line| u32::from_str_radix(line, 16).unwrap())
        .collect()
}

/// Waits for a count of at least `from`, and checks that they all follow each other.
fn wait_count(directory: &Path, from: u32) -> Vec<u32> {
    let start = Instant::now();
    loop {
        let counts = counts(directory);
        if let Some(gap) = counts.windows(2).find(|pair| pair[1] != pair[0] + 0x1000) {
            panic!("a gap in the counts: {gap:x?}");
        }
        let last = counts.last().copied().unwrap_or(0);
        if last >= from {
            return counts;
        }
        assert!(
            start.elapsed() < support::PATIENCE,
            "no count from {from:#x} on, last {last:#x}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A full snapshot of a counting guest and the last count before it.
fn counted_snapshot(root: &Path) -> (PathBuf, u32) {
    let mut source = booted(root, "counter", guest::counter());
    wait_count(root, 0x3000);
    assert_eq!(source.call(Command::Pause), Reply::Done);
    let full = root.join("full");
    source.snapshot(&full, SnapshotKind::Full);
    source.terminate();
    (full, *counts(root).last().unwrap())
}

fn subdirectory(root: &Path, name: &str) -> PathBuf {
    let path = root.join(name);
    fs::create_dir(&path).unwrap();
    path
}

fn failure(reply: Reply) -> String {
    match reply {
        Reply::Failed {
            machine_intact: true,
            reason,
            ..
        } => reason,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[test]
fn a_guest_that_resets_or_turns_itself_off_is_shut_down() {
    let root = tempfile::tempdir().unwrap();
    for (name, code) in [("reset", guest::reset()), ("off", guest::power_off())] {
        let (reason, status) = booted(root.path(), name, code).wait_end();
        assert_eq!(reason, EndReason::GuestShutdown, "{name}");
        assert!(status.success());
    }
}

#[test]
fn a_bz_image_is_entered_in_64_bit_mode() {
    let root = tempfile::tempdir().unwrap();
    let mut spec = boot_spec(root.path(), "unused", guest::power_off());
    spec.kernel = guest::bz_image(root.path(), "image", guest::power_off());
    let mut vmm = Vmm::spawn();
    vmm.boot(spec);
    assert_eq!(vmm.wait_end().0, EndReason::GuestShutdown);
}

#[test]
fn sixteen_vcpus_and_ram_on_both_sides_of_the_hole_can_be_made() {
    let root = tempfile::tempdir().unwrap();
    let mut spec = boot_spec(root.path(), "counter", guest::counter());
    (spec.vcpus, spec.memory_mib) = (16, 8192);
    let mut vmm = Vmm::spawn();
    vmm.boot(spec);
    wait_count(root.path(), 0x1000);
    let full = root.path().join("full");
    vmm.snapshot(&full, SnapshotKind::Full);
    vmm.terminate();
    let directory = subdirectory(root.path(), "clone");
    let mut vmm = Vmm::spawn();
    vmm.restore(restore_spec(&directory, &full, &[]));
    wait_count(&directory, 0x2000);
    vmm.terminate();
}

#[test]
fn a_triple_fault_ends_the_machine_with_that_reason() {
    let root = tempfile::tempdir().unwrap();
    let (reason, status) = booted(root.path(), "fault", guest::triple_fault()).wait_end();
    assert_eq!(reason, EndReason::TripleFault);
    assert!(!status.success());
}

#[test]
fn pause_stops_the_guest_and_resume_lets_it_go_on() {
    let root = tempfile::tempdir().unwrap();
    let mut vmm = booted(root.path(), "counter", guest::counter());
    wait_count(root.path(), 0x2000);
    assert_eq!(vmm.call(Command::Pause), Reply::Done);
    assert_eq!(vmm.status().phase, Phase::Paused);
    let before = counts(root.path());
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(counts(root.path()), before);
    assert_eq!(vmm.call(Command::Resume), Reply::Done);
    wait_count(root.path(), before.last().unwrap() + 0x2000);
    vmm.terminate();
}

#[test]
fn a_vcpu_that_never_exits_can_be_paused_again_and_again() {
    let root = tempfile::tempdir().unwrap();
    let mut vmm = booted(root.path(), "counter", guest::counter());
    for _ in 0..50 {
        assert_eq!(vmm.call(Command::Pause), Reply::Done);
        assert_eq!(vmm.call(Command::Resume), Reply::Done);
    }
    assert_eq!(vmm.status().phase, Phase::Running);
    vmm.terminate();
    let mut vmm = booted(root.path(), "idle", guest::idle());
    assert_eq!(vmm.call(Command::Pause), Reply::Done);
    vmm.terminate();
}

#[test]
fn a_snapshot_is_where_each_clone_goes_on() {
    let root = tempfile::tempdir().unwrap();
    let (full, last) = counted_snapshot(root.path());
    let clones: Vec<(Vmm, PathBuf)> = (0..5)
        .map(|index| {
            let directory = subdirectory(root.path(), &format!("clone-{index}"));
            let mut vmm = Vmm::spawn();
            vmm.restore(restore_spec(&directory, &full, &[]));
            (vmm, directory)
        })
        .collect();
    for (vmm, directory) in clones {
        let first = wait_count(&directory, last + 0x3000)[0];
        // The count that was being printed may be cut by the snapshot.
        assert!(first - last <= 0x2000, "after {last:x} came {first:x}");
        vmm.terminate();
    }
    assert!(hearth_snapshot::verify(&full).is_empty());
}

/// Pages of a clone are resident soon although its guest touches none of them.
#[test]
fn what_is_to_be_prefetched_becomes_resident() {
    let root = tempfile::tempdir().unwrap();
    let (full, last) = counted_snapshot(root.path());
    let mut spec = restore_spec(root.path(), &full, &[]);
    spec.run = false;
    let mut vmm = Vmm::spawn();
    vmm.restore(spec.clone());
    let without_kib = vmm.resident_guest_kib();
    // The page with the generation id.
    let private_bytes = vmm.status().private_guest_bytes;
    vmm.terminate();

    // The counter's 256 pages at 2 MiB, and ranges that are not all in RAM.
    let range = |first, count| PageRange { first, count };
    spec.prefetch = vec![range(512, 256), range(16383, u64::MAX), range(1 << 40, 1)];
    let mut vmm = Vmm::spawn();
    vmm.restore(spec);
    let start = Instant::now();
    while vmm.resident_guest_kib() < without_kib + 1024 {
        assert!(
            start.elapsed() < support::PATIENCE,
            "nothing was brought in"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(
        vmm.status().private_guest_bytes,
        private_bytes,
        "reading makes nothing private"
    );
    assert_eq!(vmm.call(Command::Resume), Reply::Done);
    wait_count(root.path(), last + 0x2000);
    vmm.terminate();
}

#[test]
fn a_chain_of_suspends_goes_on_and_each_layer_is_small() {
    let root = tempfile::tempdir().unwrap();
    let (full, mut last) = counted_snapshot(root.path());
    let mut chain = vec![full];
    for index in 0..5 {
        let directory = subdirectory(root.path(), &format!("life-{index}"));
        let mut vmm = Vmm::spawn();
        vmm.restore(restore_spec(&directory, &chain[0], &chain[1..]));
        let first = wait_count(&directory, last + 0x2000)[0];
        assert!(
            first - last <= 0x2000,
            "life {index}: after {last:x} came {first:x}"
        );
        let layer = root.path().join(format!("layer-{index}"));
        let summary = vmm.suspend(&layer);
        last = *counts(&directory).last().unwrap();
        // 256 pages that the guest writes, and a few of its own.
        assert!(summary.memory_bytes < 2 << 20, "{summary:?}");
        chain.insert(0, layer);
    }
    assert!(hearth_snapshot::verify(&chain[0]).is_empty());
}

#[test]
fn a_fork_leaves_parent_and_child_running() {
    let root = tempfile::tempdir().unwrap();
    let mut parent = booted(root.path(), "counter", guest::counter());
    wait_count(root.path(), 0x1000);
    let (full, layer) = (root.path().join("full"), root.path().join("layer"));
    parent.snapshot(&full, SnapshotKind::Full);
    wait_count(root.path(), 0x3000);
    // The parent was rebased on its own snapshot: its next one is a layer.
    let summary = parent.snapshot(&layer, SnapshotKind::Layer);
    assert!(summary.memory_bytes < 2 << 20, "{summary:?}");
    let at_fork = *counts(root.path()).last().unwrap();
    let directory = subdirectory(root.path(), "child");
    let mut child = Vmm::spawn();
    child.restore(restore_spec(&directory, &layer, &[full]));
    wait_count(&directory, at_fork + 0x2000);
    wait_count(root.path(), at_fork + 0x2000);
    child.terminate();
    parent.terminate();
}

#[test]
fn a_failed_snapshot_leaves_the_machine_running() {
    let root = tempfile::tempdir().unwrap();
    let mut vmm = booted(root.path(), "counter", guest::counter());
    let spec = |directory: &str, kind| SnapshotSpec {
        directory: root.path().join(directory),
        kind,
        next_overlays: Vec::new(),
        fold: Vec::new(),
    };
    let missing = vmm.call(Command::Snapshot(spec("no/such/place", SnapshotKind::Full)));
    assert!(failure(missing).contains("no/such/place"));
    let orphan = vmm.call(Command::Suspend(spec("orphan", SnapshotKind::Layer)));
    failure(orphan);
    assert_eq!(vmm.status().phase, Phase::Running);
    let from = counts(root.path()).last().copied().unwrap_or(0);
    wait_count(root.path(), from + 0x2000);
    assert!(!root.path().join("orphan").exists());
    vmm.terminate();
}

#[test]
fn disks_move_to_their_overlays_all_or_none() {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name);
    fs::write(path("base"), vec![0; 1 << 20]).unwrap();
    let disk = |serial: &str, overlay: &str| DiskSpec {
        serial: serial.into(),
        image: DiskImage::Overlay {
            path: path(overlay),
            backing: vec![path("base")],
        },
        rate_limit: None,
        is_replaced: false,
    };
    let mut spec = boot_spec(root.path(), "counter", guest::counter());
    spec.devices.disks = vec![disk("one", "one.0"), disk("two", "two.0")];
    let mut vmm = Vmm::spawn();
    vmm.boot(spec);
    let snapshot = |next: [&str; 2]| {
        Command::Snapshot(SnapshotSpec {
            directory: path("full"),
            kind: SnapshotKind::Full,
            next_overlays: next.map(path).to_vec(),
            fold: Vec::new(),
        })
    };
    let mode = |name: &str| fs::metadata(path(name)).unwrap().permissions().mode() & 0o777;

    // The second overlay cannot be made: neither disk moves, both can be written again.
    failure(vmm.call(snapshot(["one.1", "base"])));
    assert!(!path("one.1").exists() && !path("full").exists());
    assert_eq!((mode("one.0"), mode("two.0")), (0o600, 0o600));
    assert!(matches!(
        vmm.call(snapshot(["one.1", "two.1"])),
        Reply::Snapshot(_)
    ));
    assert_eq!((mode("one.1"), mode("two.1")), (0o600, 0o600));
    assert_eq!(
        (mode("full/disk-0.qcow2"), mode("full/disk-1.qcow2")),
        (0o444, 0o444)
    );
    let from = *counts(root.path()).last().unwrap();
    wait_count(root.path(), from + 0x2000);
    vmm.terminate();
}

#[test]
fn a_start_that_fails_leaves_no_overlay() {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name);
    fs::write(path("base"), vec![0; 1 << 20]).unwrap();
    let mut spec = boot_spec(root.path(), "counter", guest::counter());
    spec.devices.disks = vec![DiskSpec {
        serial: "scratch".into(),
        image: DiskImage::Overlay {
            path: path("overlay"),
            backing: vec![path("base")],
        },
        rate_limit: None,
        is_replaced: false,
    }];
    let kernel = std::mem::replace(&mut spec.kernel, path("nothing"));
    let mut vmm = Vmm::spawn();
    failure(vmm.call(Command::Boot(Box::new(spec.clone()))));
    assert!(!path("overlay").exists());
    spec.kernel = kernel;
    vmm.boot(spec);
    vmm.terminate();
    assert!(path("overlay").exists());
}

#[test]
fn refusals_are_sentences_and_the_process_can_be_asked_again() {
    let root = tempfile::tempdir().unwrap();
    let mut vmm = Vmm::spawn();
    assert!(failure(vmm.call(Command::Pause)).contains("no machine"));
    let mut spec = boot_spec(root.path(), "counter", guest::counter());
    spec.vcpus = 17;
    let many = vmm.call(Command::Boot(Box::new(spec.clone())));
    assert!(failure(many).contains("17 vCPUs"));
    (spec.vcpus, spec.memory_mib) = (1, 16);
    assert!(failure(vmm.call(Command::Boot(Box::new(spec.clone())))).contains("16 MiB"));
    spec.memory_mib = 64;
    spec.kernel = root.path().join("nothing");
    assert!(failure(vmm.call(Command::Boot(Box::new(spec.clone())))).contains("nothing"));
    fs::write(root.path().join("text"), "this is no kernel at all").unwrap();
    spec.kernel = root.path().join("text");
    failure(vmm.call(Command::Boot(Box::new(spec.clone()))));
    spec.kernel = guest::kernel(root.path(), "counter", guest::counter());
    vmm.boot(spec.clone());
    let again = vmm.call(Command::Boot(Box::new(spec)));
    assert!(failure(again).contains("already"));
    vmm.terminate();
}

#[test]
fn a_lost_client_leaves_the_machine_and_a_new_one_finds_it() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("control");
    let mut vmm = Vmm::spawn_listening(&path);
    vmm.boot(boot_spec(root.path(), "counter", guest::counter()));
    let count = *wait_count(root.path(), 0x1000).last().unwrap();
    vmm.reconnect(&path);
    assert_eq!(vmm.status().phase, Phase::Running);
    wait_count(root.path(), count + 0x2000);
    vmm.terminate();
}

#[test]
fn nothing_is_left_after_many_lives() {
    let root = tempfile::tempdir().unwrap();
    let mut spec = boot_spec(root.path(), "counter", guest::counter());
    spec.devices.vsock = Some(VsockSpec {
        path: root.path().join("vsock"),
    });
    let mut source = Vmm::spawn_listening(&root.path().join("control"));
    source.boot(spec);
    let full = root.path().join("full");
    source.snapshot(&full, SnapshotKind::Full);
    source.terminate();
    let files = fs::read_dir(root.path()).unwrap().count();
    let descriptors = || fs::read_dir("/proc/self/fd").unwrap().count();
    let before = descriptors();
    for _ in 0..200 {
        let mut vmm = Vmm::spawn();
        let mut spec = restore_spec(root.path(), &full, &[]);
        spec.devices.serial_log = None;
        spec.devices.vsock = Some(VsockSpec {
            path: root.path().join("vsock"),
        });
        vmm.restore(spec);
        vmm.terminate();
    }
    assert_eq!(descriptors(), before);
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), files);
}

#[test]
fn memory_beside_the_guest_is_small() {
    let root = tempfile::tempdir().unwrap();
    let mut vmm = booted(root.path(), "counter", guest::counter());
    wait_serial(root.path(), "\n");
    let status = vmm.status();
    assert_eq!(status.device_faults, 0);
    let kib = vmm.pss_beside_guest_kib();
    assert!(kib <= 3 << 10, "{kib} KiB");
    vmm.terminate();
}
