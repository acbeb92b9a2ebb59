//! Forty launches and terminations leave nothing: no descriptor, mapping, file or process.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use hearth_node::Node;

use rustix::process::{Pid, Signal, kill_process};

use hearth_machine_tests::guest::{self, name};

use crate::fixture::node;

/// What is lost once a cycle shows after forty as well as after more: files and descriptors are counted exactly.
const CYCLES: usize = 40;
/// Cycles before the first count: what is made once and kept is there by then.
const WARM_UP: usize = 5;

#[tokio::test]
async fn forty_cycles_leave_nothing() {
    let node = node().await;
    for _ in 0..WARM_UP {
        guest::clone(&node, "cycle")
            .await
            .machine
            .terminate()
            .await
            .unwrap();
    }
    let before = Census::take(&node).await;
    for _ in 0..CYCLES {
        guest::clone(&node, "cycle")
            .await
            .machine
            .terminate()
            .await
            .unwrap();
    }
    let after = Census::take(&node).await;
    assert!(after.vmms_since(&before).is_empty());
    assert_eq!(after.files, before.files);
    assert_eq!(after.temporary, before.temporary);
    assert_eq!(after.descriptors, before.descriptors);
    // A leak would be one or more a cycle. Threads of the runtime come and go, each with its own mappings.
    assert!(
        after.mappings < before.mappings + CYCLES / 2,
        "{} after {}",
        after.mappings,
        before.mappings
    );
}

#[tokio::test]
async fn what_is_erased_is_gone_in_whatever_condition() {
    let node = node().await;
    let before = Census::take(&node).await;
    // Of nothing.
    node.erase(&name("erased")).await.unwrap();
    // Running.
    guest::clone(&node, "erased").await;
    node.erase(&name("erased")).await.unwrap();
    // Suspended.
    let machine = guest::clone(&node, "erased").await.machine;
    machine.suspend().await.unwrap();
    node.erase(&name("erased")).await.unwrap();
    assert!(node.suspended(&name("erased")).is_err());
    // Dead, and its directory still there.
    let machine = guest::clone(&node, "erased").await.machine;
    let pid = Pid::from_raw(i32::try_from(machine.record().process.pid).unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    node.erase(&name("erased")).await.unwrap();
    let after = Census::take(&node).await;
    assert!(after.vmms_since(&before).is_empty());
    assert_eq!(after.files, before.files);
}

/// What there is to leave behind, counted from outside.
#[derive(Debug)]
struct Census {
    /// Process ids, zombies included. Another test may have left some.
    vmms: BTreeSet<String>,
    files: BTreeMap<String, usize>,
    temporary: [usize; 2],
    descriptors: usize,
    mappings: usize,
}

impl Census {
    /// Those that are there now and were not then.
    fn vmms_since<'a>(&'a self, before: &'a Self) -> Vec<&'a String> {
        self.vmms.difference(&before.vmms).collect()
    }

    async fn take(node: &Node) -> Self {
        wait_for_collection().await;
        let count = |path: PathBuf| fs::read_dir(path).unwrap().count();
        Self {
            vmms: vmms(),
            files: [node.layout().machines(), node.layout().snapshots()]
                .map(|path| {
                    (
                        path.display().to_string(),
                        fs::read_dir(path).unwrap().count(),
                    )
                })
                .into(),
            // The tests' own, and that of the VMMs, which get no environment.
            temporary: [std::env::temp_dir(), "/tmp".into()].map(count),
            descriptors: count("/proc/self/fd".into()),
            mappings: fs::read_to_string("/proc/self/maps")
                .unwrap()
                .lines()
                .count(),
        }
    }
}

/// A process that has ended is a zombie until the task that waits for it was polled.
async fn wait_for_collection() {
    for _ in 0..100 {
        if vmms().is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Processes that run `hearth-vmm`, zombies included.
fn vmms() -> BTreeSet<String> {
    let is_vmm = |entry: &fs::DirEntry| {
        let comm = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        comm.trim() == "hearth-vmm"
    };
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
    processes.filter(is_vmm).map(name).collect()
}
