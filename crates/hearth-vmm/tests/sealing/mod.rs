//! Snapshots and suspends that take long: what the VMM answers meanwhile, who gets the outcome, what a crash leaves.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hearth_wire::crash_point::{CRASH_POINTS, CRASH_STATUS, CrashPoint};
use hearth_wire::vmm::{
    BootSpec, Command, DiskImage, DiskSpec, EndReason, Phase, Reply, SealOutcome, SnapshotKind,
    SnapshotSpec,
};

use crate::support::{PATIENCE, Vmm, guest};
use crate::{boot_spec, counted_snapshot, counts, restore_spec, subdirectory, wait_count};

/// How long a slow point waits; the answers below must not.
const SLOW_MS: u64 = 4000;

/// Longest time that an answer may take meanwhile, on a host that is twenty times slower than real ones.
const AT_ONCE: Duration = Duration::from_millis(500);

fn snapshot_spec(directory: &Path) -> SnapshotSpec {
    SnapshotSpec {
        directory: directory.to_owned(),
        kind: SnapshotKind::Full,
        next_overlays: Vec::new(),
        fold: Vec::new(),
    }
}

/// A counting guest whose VMM is slow at `point`, and where that VMM listens.
fn slow(root: &Path, point: CrashPoint, time_ms: u64) -> (Vmm, PathBuf) {
    let path = root.join("control");
    let mut vmm = Vmm::spawn_slow(&path, point, time_ms);
    vmm.boot(boot_spec(root, "counter", guest::counter()));
    wait_count(root, 0x1000);
    (vmm, path)
}

#[test]
fn a_slow_suspend_lets_status_through_and_refuses_the_rest() {
    let root = tempfile::tempdir().unwrap();
    let (mut vmm, path) = slow(root.path(), CrashPoint::SealMemoryWritten, SLOW_MS);
    let layer = root.path().join("layer");
    let begun = Instant::now();
    let suspend = vmm.send(Command::Suspend(snapshot_spec(&layer)));

    let mut other = Vmm::beside(&path);
    for _ in 0..3 {
        let asked = Instant::now();
        let status = other.status();
        assert!(asked.elapsed() < AT_ONCE, "{:?}", asked.elapsed());
        let sealing = status.sealing.unwrap();
        assert!(sealing.is_suspend && sealing.directory == layer);
        assert_eq!(sealing.request, suspend);
        assert!(u128::from(sealing.since_us) <= begun.elapsed().as_micros());
        assert_eq!(status.phase, Phase::Paused);
        assert_eq!(status.last_seal, None);
        let spec = snapshot_spec(&root.path().join("other"));
        for command in [Command::Resume, Command::Pause, Command::Suspend(spec)] {
            let reply = other.call(command);
            assert!(
                matches!(&reply, Reply::Busy(sealing) if sealing.directory == layer),
                "{reply:?}"
            );
        }
    }
    // The client that waits may ask too: its answers come in another order.
    let status = vmm.send(Command::Status);
    assert_eq!(vmm.next_reply().0, status);
    assert!(begun.elapsed() < Duration::from_millis(SLOW_MS));

    let (id, reply) = vmm.next_reply();
    assert_eq!(id, suspend);
    assert!(matches!(reply, Reply::Snapshot(_)), "{reply:?}");
    assert!(begun.elapsed() >= Duration::from_millis(SLOW_MS));
    assert_eq!(vmm.wait_end().0, EndReason::Suspended);
    assert!(hearth_snapshot::verify(&layer).is_empty());
    assert!(!root.path().join("other").exists());
}

#[test]
fn a_suspend_can_be_terminated() {
    let root = tempfile::tempdir().unwrap();
    let hours_ms = 10_000_000;
    let (mut vmm, path) = slow(root.path(), CrashPoint::SealBegun, hours_ms);
    let layer = root.path().join("layer");
    vmm.send(Command::Suspend(snapshot_spec(&layer)));
    assert_eq!(Vmm::beside(&path).call(Command::Terminate), Reply::Done);
    let (reason, status) = vmm.wait_end();
    assert_eq!(reason, EndReason::Terminated);
    assert!(status.success());
    assert!(!layer.exists());
}

#[test]
fn the_outcome_of_a_snapshot_waits_for_a_client_that_lost_its_connection() {
    let root = tempfile::tempdir().unwrap();
    let (mut vmm, path) = slow(root.path(), CrashPoint::SealDurable, 1000);
    let full = root.path().join("full");
    let request = vmm.send(Command::Snapshot(snapshot_spec(&full)));
    vmm.reconnect(&path);
    let sealed = wait_sealed(&mut vmm);
    assert_eq!((sealed.0, sealed.1), (request.0, full.clone()));
    let SealOutcome::Sealed(summary) = sealed.2 else {
        panic!("{:?}", sealed.2);
    };
    assert_eq!(summary.id, hearth_snapshot::describe(&full).unwrap().id.0);
    // It was running long before: only what writes stands still for a snapshot.
    assert!(summary.paused_us < 1_000_000, "{summary:?}");

    // The outcome is that of the last one.
    let nowhere = root.path().join("no/such/place");
    let reply = vmm.call(Command::Suspend(snapshot_spec(&nowhere)));
    assert!(matches!(reply, Reply::Failed { .. }), "{reply:?}");
    let (_, directory, outcome) = wait_sealed(&mut vmm);
    assert_eq!(directory, nowhere);
    assert!(
        matches!(&outcome, SealOutcome::Failed { machine_intact: true, reason } if reason.contains("no/such/place")),
        "{outcome:?}"
    );
    let from = *counts(root.path()).last().unwrap();
    wait_count(root.path(), from + 0x2000);
    vmm.terminate();
}

/// Number of the request, directory and outcome of the last seal, when none is under way.
fn wait_sealed(vmm: &mut Vmm) -> (u64, PathBuf, SealOutcome) {
    let start = Instant::now();
    loop {
        let status = vmm.status();
        if let (None, Some(seal)) = (status.sealing, status.last_seal) {
            assert_eq!(status.phase, Phase::Running);
            return (seal.request.0, seal.directory, seal.outcome);
        }
        assert!(start.elapsed() < PATIENCE, "nothing was sealed");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Each point ends the process there, with what was durable before and nothing else.
#[test]
fn every_crash_point_is_hit_and_leaves_all_or_nothing() {
    let root = tempfile::tempdir().unwrap();
    let (full, _) = counted_snapshot(root.path());
    for (point, name) in CRASH_POINTS {
        let directory = subdirectory(root.path(), name);
        let mut vmm = Vmm::spawn_crashing(point);
        if matches!(
            point,
            CrashPoint::RestoreMapped | CrashPoint::RestoreRunning
        ) {
            vmm.send(Command::Restore(Box::new(restore_spec(
                &directory,
                &full,
                &[],
            ))));
        } else {
            vmm.boot(with_disk(&directory));
            wait_count(&directory, 0x1000);
            let mut spec = snapshot_spec(&directory.join("sealed"));
            vmm.send(if point == CrashPoint::SealDisksStacked {
                spec.next_overlays = vec![directory.join("disk.1")];
                Command::Snapshot(spec)
            } else {
                Command::Suspend(spec)
            });
        }
        assert_eq!(
            vmm.child.wait().unwrap().code(),
            Some(CRASH_STATUS),
            "{name}"
        );
        let sealed = directory.join("sealed");
        let is_durable = matches!(point, CrashPoint::SealDurable | CrashPoint::SuspendReplied);
        assert_eq!(sealed.exists(), is_durable, "{name}");
        if is_durable {
            assert!(hearth_snapshot::verify(&sealed).is_empty(), "{name}");
        }
    }
}

fn with_disk(directory: &Path) -> BootSpec {
    let base = directory.join("base");
    fs::write(&base, vec![0; 1 << 20]).unwrap();
    let mut spec = boot_spec(directory, "counter", guest::counter());
    spec.devices.disks = vec![DiskSpec {
        serial: "scratch".into(),
        image: DiskImage::Overlay {
            path: directory.join("disk.0"),
            backing: vec![base],
        },
        rate_limit: None,
        is_replaced: false,
    }];
    spec
}
