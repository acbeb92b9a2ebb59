//! What a clone touched is brought in ahead for the next ones.

use std::fs;
use std::time::Duration;

use hearth_machine_tests::guest::{self, MEMORY_MIB, ask, name};
use hearth_node::{CloneRequest, Machine, Node};

use crate::fixture::node;

/// What the application reads, in MiB. The guest's other threads cause some 70 faults meanwhile, on a busy machine more, and
/// each MiB of a mapped file costs 16: they are to be few beside these.
const READ_MIB: u64 = 32;

const PAGES_OF_A_MIB: u64 = 256;

#[tokio::test]
async fn what_a_clone_touched_the_next_one_does_not_wait_for() {
    let node = node().await;
    let mut filled = guest::clone(&node, "prefetch-filled").await.machine;
    assert_eq!(ask(&filled, &format!("dirty {READ_MIB} 5")).await, "ok");
    let (snapshot, _) = filled.snapshot().await.unwrap();
    filled.terminate().await.unwrap();

    // As a build does: on one clone, do what all will do first.
    let first = clone(&node, "prefetch-first", CloneRequest::new(snapshot)).await;
    let without = faults_of_reading(&first).await;
    let pages = first.touched_pages().await.unwrap();
    first.terminate().await.unwrap();
    let count: u64 = pages.iter().map(|range| range.count).sum();
    assert!(count >= READ_MIB * PAGES_OF_A_MIB, "{count} pages");
    let all = u64::from(MEMORY_MIB) * PAGES_OF_A_MIB;
    assert!(count < all / 2, "{count} pages of {all}");
    let ends: Vec<u64> = pages
        .iter()
        .map(|range| range.first + range.count)
        .collect();
    let is_ascending = pages[1..]
        .iter()
        .zip(&ends)
        .all(|(next, end)| next.first > *end);
    assert!(is_ascending, "{pages:?}");
    assert!(*ends.last().unwrap() <= all);

    assert_eq!(node.prefetch(snapshot).await.unwrap(), []);
    node.set_prefetch(snapshot, &pages).await.unwrap();
    assert_eq!(node.prefetch(snapshot).await.unwrap(), pages);
    let request = CloneRequest {
        prefetch: pages,
        ..CloneRequest::new(snapshot)
    };
    let second = clone(&node, "prefetch-second", request).await;
    wait_for_prefetch(&second).await;
    let with = faults_of_reading(&second).await;
    second.terminate().await.unwrap();
    node.delete_snapshot(snapshot).await.unwrap();
    println!("page faults of the process while its guest read: {without}, with the list {with}");
    assert!(with * 2 < without, "{with} instead of {without}");
}

async fn clone(node: &Node, text: &str, request: CloneRequest) -> Machine {
    let launched = node.clone_snapshot(&name(text), request).await;
    launched.unwrap().machine
}

/// Page faults of the machine's process while its application reads its memory.
async fn faults_of_reading(machine: &Machine) -> u64 {
    let before = faults(machine);
    let sum: u64 = ask(machine, &format!("sum {READ_MIB}"))
        .await
        .parse()
        .unwrap();
    assert!(sum > 0);
    faults(machine) - before
}

/// Field 10 of proc_pid_stat(5): faults that needed no disk.
fn faults(machine: &Machine) -> u64 {
    let pid = machine.record().process.pid;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    fields.split(' ').nth(7).unwrap().parse().unwrap()
}

/// Its thread ends when everything is there.
async fn wait_for_prefetch(machine: &Machine) {
    let tasks = format!("/proc/{}/task", machine.record().process.pid);
    for _ in 0..600 {
        let is_at_work = fs::read_dir(&tasks).unwrap().any(|task| {
            let name = fs::read_to_string(task.unwrap().path().join("comm"));
            name.is_ok_and(|name| name.trim() == "prefetch")
        });
        if !is_at_work {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("still prefetching");
}
