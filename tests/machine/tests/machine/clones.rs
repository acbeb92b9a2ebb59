//! Twenty clones of one snapshot at the same time: each goes on, each is another one.

use std::collections::HashSet;
use std::time::{SystemTime, UNIX_EPOCH};

use hearth_node::{CloneRequest, Machine};
use hearth_wire::agent::{ControlReply, ControlRequest};
use tokio::task::JoinSet;

use hearth_machine_tests::guest::{self, ask, counter, name};

use crate::fixture::node;

const CLONES: usize = 20;

/// How far a guest's clock may be from the host's.
const CLOCK_TOLERANCE_MS: u128 = 100;

#[tokio::test]
async fn twenty_clones_at_once_go_on_and_differ() {
    let node = node().await;
    let snapshot = guest::template(&node).await;

    let mut launches = JoinSet::new();
    for index in 0..CLONES {
        let (node, name) = (node.clone(), name(&format!("clone-{index}")));
        launches.spawn(async move {
            let request = CloneRequest::new(snapshot);
            node.clone_snapshot(&name, request).await
        });
    }
    let machines: Vec<Machine> = launches
        .join_all()
        .await
        .into_iter()
        .map(|launched| launched.unwrap().machine)
        .collect();

    let (mut randoms, mut boot_ids, mut machine_ids) =
        (HashSet::new(), HashSet::new(), HashSet::new());
    let mut kept = Vec::new();
    for machine in machines {
        // The template had counted for a while before it was sealed; a program that began anew would not have.
        let before = counter(&machine).await;
        assert!(before > 0, "the program goes on with its memory");
        randoms.insert(guest::random(&machine).await);
        boot_ids.insert(ask(&machine, "read /proc/sys/kernel/random/boot_id").await);
        machine_ids.insert(ask(&machine, "read /etc/machine-id").await);
        let away = clock_difference_ms(&machine).await;
        assert!(away <= CLOCK_TOLERANCE_MS, "its clock is {away} ms off");
        // Those that have shown it only keep the others from being asked.
        if kept.len() < 2 {
            kept.push(machine);
        } else {
            machine.terminate().await.unwrap();
        }
    }
    assert_eq!(randoms.len(), CLONES, "each draws its own random bytes");
    assert_eq!(
        boot_ids.len(),
        CLONES,
        "each has a boot identity of its own"
    );
    assert_eq!(
        machine_ids.len(),
        CLONES,
        "each has a machine id of its own"
    );

    // Writes in one are invisible in the others and in the sealed files, which are what they were by their checksums.
    assert_eq!(ask(&kept[0], "dirty 4 11").await, "ok");
    assert_eq!(ask(&kept[0], "check 4 11").await, "ok");
    assert_eq!(ask(&kept[1], "check 4 11").await, "differs");
    let damage = hearth_snapshot::verify(&node.layout().snapshot(snapshot));
    assert!(damage.is_empty(), "{damage:?}");
    for machine in kept {
        machine.terminate().await.unwrap();
    }
}

/// The distance of the guest's clock from the interval in which it was asked.
async fn clock_difference_ms(machine: &Machine) -> u128 {
    let before = now_ns();
    let Ok(ControlReply::Hello(hello)) = machine.agent().control(ControlRequest::Hello).await
    else {
        panic!("no hello");
    };
    let (guest, after) = (u128::from(hello.realtime_ns), now_ns());
    before
        .saturating_sub(guest)
        .max(guest.saturating_sub(after))
        / 1_000_000
}

fn now_ns() -> u128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_nanos()
}
