//! kill -9 of a VMM in the middle of a suspend: the parent stays usable, no half layer is in place.

use std::fs;
use std::time::Duration;

use hearth_node::{Node, NodeError, Purpose};
use rustix::process::{Pid, Signal, kill_process};

use hearth_machine_tests::guest::{self, ask, name};

use crate::fixture::node;

/// Moments of the kill, in milliseconds after the suspend was asked for; together they cover it.
const MOMENTS_MS: [u64; 8] = [0, 5, 20, 60, 120, 250, 500, 1000];

#[tokio::test]
async fn a_vmm_killed_at_any_moment_of_a_suspend_leaves_no_half_layer() {
    let node = node().await;
    let (mut torn, mut whole) = (0, 0);
    for moment_ms in MOMENTS_MS {
        let text = format!("torn-{moment_ms}");
        let machine = guest::clone(&node, &text).await.machine;
        assert_eq!(ask(&machine, "dirty 8 31").await, "ok");
        let pid = Pid::from_raw(i32::try_from(machine.record().process.pid).unwrap()).unwrap();
        let killer = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(moment_ms)).await;
            // The process may have finished its suspend and gone.
            let _ = kill_process(pid, Signal::KILL);
        });
        let outcome = machine.suspend().await;
        killer.await.unwrap();
        node.sweep().await.unwrap();

        assert_no_half_layer(&node);
        match outcome {
            Ok(_) => {
                // It was faster than the killer: then it is suspended, with everything.
                let machine = node.resume(&name(&text)).await.unwrap().machine;
                assert_eq!(ask(&machine, "check 8 31").await, "ok");
                machine.terminate().await.unwrap();
                whole += 1;
            }
            Err(_) => {
                match node.suspended(&name(&text)) {
                    // Killed between the rename and the answer: the snapshot is whole.
                    Ok(snapshot) => {
                        let directory = node.layout().snapshot(snapshot.id);
                        assert!(hearth_snapshot::verify(&directory).is_empty());
                        node.delete_snapshot(snapshot.id).await.unwrap();
                    }
                    Err(error) => assert!(matches!(error, NodeError::UnknownMachine(_))),
                }
                torn += 1;
            }
        }
        // Whatever happened, the parent makes clones as before.
        let clone = guest::clone(&node, &format!("after-{moment_ms}"))
            .await
            .machine;
        clone.terminate().await.unwrap();
    }
    assert!(
        torn > 0,
        "no kill came in time ({whole} suspends were whole)"
    );
}

fn assert_no_half_layer(node: &Node) {
    for entry in fs::read_dir(node.layout().snapshots()).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        assert!(name.len() == 64, "{name} is not a sealed snapshot");
        assert!(
            hearth_snapshot::verify(&entry.path()).is_empty(),
            "{name} is damaged"
        );
    }
    let of_template = node.snapshots();
    assert!(
        of_template
            .iter()
            .any(|snapshot| snapshot.record.purpose == Purpose::Template)
    );
}
