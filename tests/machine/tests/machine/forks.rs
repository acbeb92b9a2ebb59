//! A running microVM yields a second one; both go on, neither loses a write.

use std::fs;

use hearth_node::{DiskRequest, Machine, Node, NodeError};
use hearth_wire::agent::ExitStatus;

use hearth_machine_tests::guest::{self, ask, counter, name};

use crate::fixture::node;

#[tokio::test]
async fn parent_and_child_both_go_on_and_neither_loses_a_write() {
    let node = node().await;
    let parent = guest::clone(&node, "parent").await.machine;
    assert_eq!(ask(&parent, "dirty 8 21").await, "ok");
    let before = counter(&parent).await;

    let child = node
        .fork(parent.name(), &name("child"))
        .await
        .unwrap()
        .machine;
    // Reading the record again: the fork gave the parent a new one to stand on.
    let parent = node.machine(parent.name()).unwrap();
    assert_eq!(ask(&parent, "check 8 21").await, "ok");
    assert_eq!(ask(&child, "check 8 21").await, "ok");
    assert!(counter(&child).await >= before && counter(&parent).await >= before);

    assert_eq!(ask(&parent, "dirty 8 22").await, "ok");
    assert_eq!(ask(&child, "dirty 4 23").await, "ok");
    assert_eq!(ask(&parent, "check 8 22").await, "ok");
    assert_eq!(ask(&child, "check 4 23").await, "ok");
    let (own, of_child) = (guest::random(&parent).await, guest::random(&child).await);
    assert_ne!(own, of_child);

    // Both can be suspended and come back, on a chain that they share.
    let (parent_id, summary) = parent.suspend().await.unwrap();
    assert!(
        summary.memory_bytes < 24 << 20,
        "what the fork had sealed is not written again"
    );
    let (child_id, _) = child.suspend().await.unwrap();
    assert_ne!(parent_id, child_id);
    let parent = node.resume(&name("parent")).await.unwrap().machine;
    let child = node.resume(&name("child")).await.unwrap().machine;
    assert_eq!(ask(&parent, "check 8 22").await, "ok");
    assert_eq!(ask(&child, "check 4 23").await, "ok");
    parent.terminate().await.unwrap();
    child.terminate().await.unwrap();
}

#[tokio::test]
async fn a_child_outlives_its_parent_and_the_layer_goes_with_the_last() {
    let node = node().await;
    guest::template(&node).await;
    let before = snapshots(&node);
    let parent = guest::clone(&node, "parent").await.machine;
    assert_eq!(ask(&parent, "dirty 4 31").await, "ok");
    let child = node.fork(parent.name(), &name("child")).await.unwrap();
    node.erase(parent.name()).await.unwrap();
    assert_eq!(ask(&child.machine, "check 4 31").await, "ok");
    assert_eq!(snapshots(&node), before + 1);

    // The other way round, and from a child.
    let grandchild = node
        .fork(&name("child"), &name("grandchild"))
        .await
        .unwrap();
    node.erase(&name("grandchild")).await.unwrap();
    drop(grandchild);
    assert_eq!(ask(&child.machine, "check 4 31").await, "ok");
    let child = node.machine(&name("child")).unwrap();
    child.suspend().await.unwrap();
    let child = node.resume(&name("child")).await.unwrap().machine;
    assert_eq!(ask(&child, "check 4 31").await, "ok");
    node.erase(&name("child")).await.unwrap();
    assert_eq!(snapshots(&node), before);
}

#[tokio::test]
async fn a_suspended_parent_sleeps_on_and_may_be_erased() {
    let node = node().await;
    guest::template(&node).await;
    let before = snapshots(&node);
    let parent = guest::clone(&node, "parent").await.machine;
    assert_eq!(ask(&parent, "dirty 4 41").await, "ok");
    let random = ask(&parent, "random").await;
    parent.suspend().await.unwrap();
    let first = node.fork(&name("parent"), &name("first")).await.unwrap();
    let second = node.fork(&name("parent"), &name("second")).await.unwrap();
    assert_ne!(guest::random(&first.machine).await, random);
    assert_eq!(ask(&first.machine, "dirty 4 42").await, "ok");
    assert_eq!(ask(&second.machine, "check 4 41").await, "ok");

    let parent = node.resume(&name("parent")).await.unwrap().machine;
    assert_eq!(ask(&parent, "check 4 41").await, "ok");
    parent.suspend().await.unwrap();
    node.erase(&name("parent")).await.unwrap();
    assert!(node.suspended(&name("parent")).is_err());
    assert_eq!(ask(&second.machine, "check 4 41").await, "ok");
    for child in ["first", "second"] {
        node.erase(&name(child)).await.unwrap();
    }
    assert_eq!(snapshots(&node), before);
}

/// What a fork leaves at each of its steps, when nobody goes on with it.
#[tokio::test]
async fn a_fork_that_is_cut_in_two_is_undone() {
    let node = node().await;
    guest::template(&node).await;
    let before = snapshots(&node);
    let (parent_name, child) = (name("parent"), name("child"));
    let parent = guest::clone(&node, "parent").await.machine;
    assert_eq!(ask(&parent, "dirty 4 51").await, "ok");

    // The child waits for its launch: nobody else takes what it waits for.
    let sealed = node.seal_for(&parent_name, &child).await.unwrap();
    assert!(sealed.paused_us.is_some());
    assert!(matches!(
        node.delete_snapshot(sealed.snapshot).await,
        Err(NodeError::InUse { .. })
    ));
    node.sweep().await.unwrap();
    assert_eq!(node.names(), std::slice::from_ref(&parent_name));

    // The record of the parent knows the layer, which was not moved to the others.
    let sealed = node.seal_for(&parent_name, &child).await.unwrap();
    let incoming = node.layout().machine(&parent_name).join("incoming");
    fs::rename(node.layout().snapshot(sealed.snapshot), incoming).unwrap();
    node.sweep().await.unwrap();
    assert!(node.layout().snapshot(sealed.snapshot).exists());

    // A parent that is erased takes nothing from a child that waits.
    let parent = node.machine(&parent_name).unwrap();
    assert_eq!(ask(&parent, "check 4 51").await, "ok");
    node.seal_for(&parent_name, &child).await.unwrap();
    node.erase(&parent_name).await.unwrap();
    let child = node.launch_fork(&child, None).await.unwrap().machine;
    assert_eq!(ask(&child, "check 4 51").await, "ok");
    node.erase(child.name()).await.unwrap();
    assert_eq!(snapshots(&node), before);
}

/// Each fork moves the parent's disk on to another overlay, in the VMM that runs already.
#[tokio::test]
async fn a_parent_with_a_disk_is_forked_again_and_again() {
    let node = node().await;
    let image = guest::scratch().join("forked-disk.raw");
    fs::File::create(&image).unwrap().set_len(64 << 20).unwrap();
    let disk = DiskRequest {
        serial: "data".to_owned(),
        image,
        overlays: Vec::new(),
        is_writable: true,
    };
    let request = node.boot_request(1, vec![disk]);
    let mut parent = node.boot(&name("parent"), request).await.unwrap().machine;
    parent.start_application(guest::serve()).await.unwrap();
    guest::wait_until_serving(&parent).await;
    let before = snapshots(&node);
    let mut children = Vec::new();
    for round in ["1", "2", "3"] {
        let write = ["/bin/test-guest", "write-disk", "/dev/vda", round];
        assert_eq!(guest::exec(&parent, &write).await.0, ExitStatus::Code(0));
        let child = name(&format!("child-{round}"));
        let child = node.fork(parent.name(), &child).await.unwrap();
        children.push((round, child.machine));
    }
    let check = async |machine: &Machine, round: &str| {
        let check = ["/bin/test-guest", "check-disk", "/dev/vda", round];
        let (status, said) = guest::exec(machine, &check).await;
        assert_eq!(status, ExitStatus::Code(0), "{round}: {said}");
    };
    for (round, child) in &children {
        check(child, round).await;
    }
    let parent = node.machine(parent.name()).unwrap();
    parent.suspend().await.unwrap();
    let parent = node.resume(&name("parent")).await.unwrap().machine;
    check(&parent, "3").await;
    for (round, child) in children {
        check(&child, round).await;
        child.terminate().await.unwrap();
    }
    parent.terminate().await.unwrap();
    assert_eq!(snapshots(&node), before);
}

fn snapshots(node: &Node) -> usize {
    node.snapshots().len()
}
