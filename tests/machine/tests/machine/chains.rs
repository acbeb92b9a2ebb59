//! An instance sleeps as often as it likes, and is forked as often: its chain is folded again and again, with memory and disk right
//! after each.

use std::sync::Arc;

use hearth_machine_tests::guest::{self, Fixture, ask, counter, name};
use hearth_node::{ChainLimits, CloneRequest, DiskRequest, Machine, SnapshotInfo};
use hearth_snapshot::SnapshotId;
use hearth_wire::agent::ExitStatus;

use crate::fixture;

/// So few layers that a test of a minute folds several times.
const LAYERS: usize = 3;

async fn node() -> Fixture {
    let node = fixture::node().await;
    guest::template(&node).await;
    node.with(|options| {
        options.chain = ChainLimits {
            layers: LAYERS,
            ..ChainLimits::default()
        };
    })
}

/// A template with a writable disk.
async fn template_with_disk(node: &Fixture) -> SnapshotId {
    let image = guest::scratch().join("chains.raw");
    std::fs::File::create(&image)
        .unwrap()
        .set_len(64 << 20)
        .unwrap();
    let disk = DiskRequest {
        serial: "data".to_owned(),
        image,
        overlays: Vec::new(),
        is_writable: true,
    };
    let booted = node
        .boot(&name("chains-first"), node.boot_request(1, vec![disk]))
        .await;
    let mut first = booted.unwrap().machine;
    first.start_application(guest::serve()).await.unwrap();
    guest::wait_until_serving(&first).await;
    let (id, _) = first.snapshot().await.unwrap();
    first.terminate().await.unwrap();
    id
}

async fn write(machine: &Machine, seed: u64) {
    assert_eq!(ask(machine, &format!("dirty 2 {seed}")).await, "ok");
    let seed = seed.to_string();
    let write = ["/bin/test-guest", "write-disk", "/dev/vda", &seed];
    let (status, said) = guest::exec(machine, &write).await;
    assert_eq!(status, ExitStatus::Code(0), "{said}");
}

async fn check(machine: &Machine, seed: u64) {
    assert_eq!(ask(machine, &format!("check 2 {seed}")).await, "ok");
    let seed = seed.to_string();
    let check = ["/bin/test-guest", "check-disk", "/dev/vda", &seed];
    let (status, said) = guest::exec(machine, &check).await;
    assert_eq!(status, ExitStatus::Code(0), "{said}");
}

/// The snapshot has no more layers than it may, its disk no longer stack, and all of it is as it was sealed.
fn assert_short(node: &Fixture, info: &SnapshotInfo) {
    assert!(info.ancestors.len() <= LAYERS, "{:?}", info.ancestors);
    for disk in &info.record.disks {
        // Those of the layers, and the template's.
        assert!(disk.sealed.len() <= LAYERS + 1, "{:?}", disk.sealed);
    }
    let directory = node.layout().snapshot(info.id);
    let problems = hearth_snapshot::verify_chain(&directory, |id| node.layout().snapshot(id));
    assert!(problems.is_empty(), "{problems:?}");
}

fn of(node: &Fixture, machine: &str) -> Vec<Arc<SnapshotInfo>> {
    let snapshots = node.snapshots().into_iter();
    snapshots
        .filter(|snapshot| snapshot.record.machine == machine)
        .collect()
}

#[tokio::test]
async fn a_microvm_sleeps_as_often_as_it_likes() {
    let node = node().await;
    let template = template_with_disk(&node).await;
    let sleeper = name("sleeper");
    let request = CloneRequest::new(template);
    let mut machine = node
        .clone_snapshot(&sleeper, request)
        .await
        .unwrap()
        .machine;
    let (mut folds, mut layers, mut last) = (0, 0, counter(&machine).await);
    for round in 1..=11 {
        write(&machine, round).await;
        machine.suspend().await.unwrap();
        let info = node.suspended(&sleeper).unwrap();
        assert_short(&node, &info);
        folds += u32::from(info.ancestors.len() < layers);
        layers = info.ancestors.len();
        machine = node.resume(&sleeper).await.unwrap().machine;
        check(&machine, round).await;
        let now = counter(&machine).await;
        assert!(now >= last, "round {round}: {now} after {last}");
        last = now;
        // Layers that were folded go, a moment after the resume.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while of(&node, "sleeper").len() > LAYERS + 1 {
            assert!(std::time::Instant::now() < deadline, "layers are left");
            tokio::task::yield_now().await;
        }
    }
    assert!(folds >= 3, "{folds} folds");
    machine.terminate().await.unwrap();
    assert!(of(&node, "sleeper").is_empty());
    node.delete_snapshot(template).await.unwrap();
}

#[tokio::test]
async fn a_running_parent_is_forked_as_often_as_it_likes() {
    let node = node().await;
    let template = template_with_disk(&node).await;
    let parent_name = name("chains-parent");
    let request = CloneRequest::new(template);
    let parent = node.clone_snapshot(&parent_name, request).await.unwrap();
    for round in 1..=8 {
        write(&parent.machine, round).await;
        let child_name = name(&format!("chains-child-{round}"));
        let child = node.fork(&parent_name, &child_name).await.unwrap().machine;
        check(&child, round).await;
        write(&child, 100 + round).await;
        child.suspend().await.unwrap();
        let info = node.suspended(&child_name).unwrap();
        assert_short(&node, &info);
        let child = node.resume(&child_name).await.unwrap().machine;
        check(&child, 100 + round).await;
        check(&parent.machine, round).await;
        child.terminate().await.unwrap();
    }
    // It sleeps too, after all that.
    node.suspend(&parent_name).await.unwrap();
    assert_short(&node, &node.suspended(&parent_name).unwrap());
    let parent = node.resume(&parent_name).await.unwrap().machine;
    check(&parent, 8).await;
    parent.terminate().await.unwrap();
    assert!(of(&node, "chains-parent").is_empty());
    node.delete_snapshot(template).await.unwrap();
}

/// The format limits the runs of a map. The chain of a guest with scattered writes is folded before the limit, and the
/// instance resumes each time.
#[tokio::test]
async fn scattered_pages_are_no_reason_not_to_sleep() {
    let node = node().await.with(|options| {
        options.chain = ChainLimits {
            layers: 16,
            runs: 2000,
        };
    });
    let sleeper = name("scattered");
    let snapshot = guest::template(&node).await;
    let request = CloneRequest::new(snapshot);
    let mut machine = node
        .clone_snapshot(&sleeper, request)
        .await
        .unwrap()
        .machine;
    for round in 1..=5 {
        let scatter = format!("scatter 4000 {round}");
        assert_eq!(ask(&machine, &scatter).await, "ok");
        machine.suspend().await.unwrap();
        let info = node.suspended(&sleeper).unwrap();
        let runs = info.record.shape.as_ref().unwrap().runs;
        assert!(round != 2 || runs > 2000, "{runs} runs are not scattered");
        machine = node.resume(&sleeper).await.unwrap().machine;
        let check = format!("check-scattered 4000 {round}");
        assert_eq!(ask(&machine, &check).await, "ok");
    }
    machine.terminate().await.unwrap();
}

/// Whoever asks second gets the answer to what it asked.
#[tokio::test]
async fn two_callers_at_once_are_answered_each() {
    let node = node().await;
    let both = name("both");
    guest::clone(&node, "both").await;
    let (fork_name, other) = (name("both-fork"), node.clone());
    let fork = tokio::spawn({
        let (node, both, child) = (other, both.clone(), fork_name.clone());
        async move { node.seal_for(&both, &child).await }
    });
    let suspended = node.suspend(&both).await;
    let sealed = fork.await.unwrap();
    // In either order both come true: a suspended parent is forked from its layer.
    sealed.unwrap();
    suspended.unwrap();
    let child = node.launch_fork(&fork_name, None).await.unwrap().machine;
    counter(&child).await;
    child.terminate().await.unwrap();

    let (first, second) = tokio::join!(node.resume(&both), node.resume(&both));
    assert!(first.is_ok() != second.is_ok(), "it is resumed once");
    counter(&node.machine(&both).unwrap()).await;

    let (suspended, erased) = tokio::join!(node.suspend(&both), node.erase(&both));
    erased.unwrap();
    // It was faster, or gave way; nothing is left in either case.
    drop(suspended);
    assert!(of(&node, "both").is_empty());
    assert!(!node.layout().machine(&both).exists());
}
