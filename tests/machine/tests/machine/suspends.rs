//! Suspend writes what changed, resume goes on, and a chain of them stays right.

use std::time::{Duration, Instant};

use hearth_node::{Machine, Node};
use hearth_wire::agent::{ControlReply, ControlRequest};

use hearth_machine_tests::guest::{self, ask, counter, name};

use crate::fixture::node;

#[tokio::test]
async fn a_suspend_writes_little_and_a_chain_of_five_is_right() {
    let node = node().await;
    let mut machine = guest::clone(&node, "chain").await.machine;
    let mut last = counter(&machine).await;
    for round in 1..=5_u64 {
        assert_eq!(ask(&machine, &format!("dirty 8 {round}")).await, "ok");
        let (id, summary) = machine.suspend().await.unwrap();
        assert!(
            (8 << 20..24 << 20).contains(&summary.memory_bytes),
            "round {round} wrote {} KiB",
            summary.memory_bytes / 1024
        );
        assert!(hearth_snapshot::verify(&node.layout().snapshot(id)).is_empty());
        assert!(
            node.machine(&name("chain")).is_err(),
            "its process and directory are gone"
        );

        machine = node.resume(&name("chain")).await.unwrap().machine;
        assert_eq!(ask(&machine, &format!("check 8 {round}")).await, "ok");
        let now = counter(&machine).await;
        assert!(now >= last, "round {round}: {now} after {last}");
        last = now;
    }
    machine.terminate().await.unwrap();
    assert!(
        steps(&node, "chain").is_empty(),
        "nothing of the chain is left"
    );
}

/// A resume destroys what the application had open to the outside, not what it has on loopback.
#[tokio::test]
async fn loopback_connections_survive_a_suspend() {
    let node = node().await;
    let machine = guest::clone(&node, "loopback").await.machine;
    assert_eq!(ask(&machine, "connect 127.0.0.1:7000").await, "ok");
    machine.suspend().await.unwrap();
    let machine = node.resume(&name("loopback")).await.unwrap().machine;
    assert_eq!(ask(&machine, "connected").await, "yes");
    machine.terminate().await.unwrap();
}

/// A resume that cannot succeed leaves the microVM suspended.
#[tokio::test]
async fn a_failed_resume_leaves_the_microvm_suspended() {
    let node = node().await;
    let machine = guest::clone(&node, "stuck").await.machine;
    let before = counter(&machine).await;
    let (id, _) = machine.suspend().await.unwrap();
    let memory = node.layout().snapshot(id).join("memory");
    let aside = memory.with_file_name("memory-aside");
    std::fs::rename(&memory, &aside).unwrap();
    let error = node.resume(&name("stuck")).await.unwrap_err().to_string();
    assert!(error.contains("memory"), "{error}");
    std::fs::rename(&aside, &memory).unwrap();

    let machine = node.resume(&name("stuck")).await.unwrap().machine;
    assert!(counter(&machine).await >= before);
    machine.terminate().await.unwrap();
}

fn steps(node: &Node, machine: &str) -> Vec<String> {
    let snapshots = node.snapshots().into_iter();
    snapshots
        .filter(|snapshot| snapshot.record.machine == machine)
        .map(|snapshot| snapshot.id.to_string())
        .collect()
}

/// What was open into the guest before a suspend has nobody at its other end after it: the application sees it end.
#[tokio::test]
async fn streams_of_before_a_suspend_end() {
    let node = node().await;
    let machine = guest::clone(&node, "streams").await.machine;
    let before = guest::talk(&machine).await;
    assert_eq!(proxy_streams(&machine).await, 1);
    machine.suspend().await.unwrap();
    drop(before);
    let machine = node.resume(&name("streams")).await.unwrap().machine;
    let deadline = Instant::now() + Duration::from_secs(20);
    while proxy_streams(&machine).await > 0 {
        assert!(Instant::now() < deadline, "the stream is still open");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    machine.terminate().await.unwrap();
}

async fn proxy_streams(machine: &Machine) -> u32 {
    match machine.agent().control(ControlRequest::Metrics).await {
        Ok(ControlReply::Metrics(metrics)) => metrics.proxy_streams,
        other => panic!("{other:?}"),
    }
}
