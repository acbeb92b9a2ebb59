//! What one microVM may take of its host.

use std::fs;
use std::path::{Path, PathBuf};

use hearth_machine_tests::guest;
use hearth_machine_tests::guest::{ask, name};
use hearth_node::{CloneRequest, Groups};

use crate::fixture::node;

/// The group of a process, as a path.
fn group_of(pid: u32) -> PathBuf {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"));
    Path::new("/sys/fs/cgroup").join(path.unwrap())
}

fn limit(group: &Path, file: &str) -> String {
    fs::read_to_string(group.join(file))
        .unwrap()
        .trim()
        .to_owned()
}

#[tokio::test]
async fn every_machine_has_a_group_of_its_size() {
    let plain = node().await;
    let snapshot = guest::template(&plain).await;
    let groups = Groups::open(plain.layout().data()).unwrap();
    let node = plain.with_groups(groups);
    let request = CloneRequest::new(snapshot);
    let machine = node
        .clone_snapshot(&name("limited"), request)
        .await
        .unwrap()
        .machine;
    let group = group_of(machine.record().process.pid);
    assert!(group.ends_with("limited"), "{}", group.display());
    let memory: u64 = limit(&group, "memory.max").parse().unwrap();
    let guest = u64::from(guest::MEMORY_MIB) << 20;
    assert!(guest < memory && memory < guest + (256 << 20), "{memory}");
    assert_eq!(limit(&group, "cpu.max"), "125000 100000");
    assert_eq!(limit(&group, "cpu.weight"), "25");
    assert_eq!(limit(&group, "pids.max"), "33");
    assert_eq!(limit(&group, "memory.oom.group"), "1");
    // It works in there, with all of its memory.
    assert_eq!(ask(&machine, "dirty 100 1").await, "ok");
    assert_eq!(ask(&machine, "check 40 1").await, "ok");
    let events = limit(&group, "memory.events");
    assert!(events.contains("oom_kill 0"), "{events}");

    machine.suspend().await.unwrap();
    assert!(
        !group.exists(),
        "a suspended one has no process and no group"
    );
    let machine = node.resume(&name("limited")).await.unwrap().machine;
    assert!(group.exists());
    machine.terminate().await.unwrap();
    assert!(!group.exists());

    // A name that is used again at once: what its last process had is given back by then, and not once more.
    for _ in 0..5 {
        let request = CloneRequest::new(snapshot);
        let launched = node.clone_snapshot(&name("limited"), request).await;
        let machine = launched.unwrap().machine;
        assert!(group.join("cgroup.procs").exists());
        machine.terminate().await.unwrap();
        assert!(!group.exists());
    }

    // What a crash leaves is removed at the next start.
    let stale = group.with_file_name("stale");
    fs::create_dir(&stale).unwrap();
    node.sweep().await.unwrap();
    assert!(!stale.exists());

    // What follows in the same lab finds the host as it was.
    let own = stale.parent().unwrap();
    fs::remove_dir(own).unwrap();
    fs::remove_dir(own.parent().unwrap()).unwrap();
    fs::write(
        "/sys/fs/cgroup/cgroup.subtree_control",
        "-cpu -memory -pids",
    )
    .unwrap();
}
