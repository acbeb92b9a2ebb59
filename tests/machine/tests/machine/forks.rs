//! A running microVM yields a second one; both go on, neither loses a write.

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
    assert_ne!(ask(&parent, "random").await, ask(&child, "random").await);

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
