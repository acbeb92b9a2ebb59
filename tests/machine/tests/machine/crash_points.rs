//! kill -9 at each named point of launch, suspend, fork, resume and removal: of the node, of the VMM, and of both. Each point is shown
//! to have been reached; then a new node finds nothing lost, nothing left and nothing wedged.
//!
//! The node that dies is a process of its own: this test binary, started again for one test that does what the environment says.

use std::env;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitStatus, Output};
use std::time::{Duration, Instant};

use hearth_machine_tests::guest::{self, Fixture, ask, name};
use hearth_node::{
    ChainLimits, CloneRequest, Machine, MachineName, Purpose, Standing, crash_point,
};
use hearth_wire::crash_point::CRASH_POINTS;

use crate::fixture;

const OPERATION: &str = "HEARTH_TEST_OPERATION";
const VMM_CRASH_POINT: &str = "HEARTH_VMM_CRASH_POINT";

/// What is in the victim's memory.
const CHECK: &str = "check 4 77";

fn victim() -> MachineName {
    name("victim")
}

fn child() -> MachineName {
    name("victims-child")
}

/// Chains of one layer, so that a second suspend folds.
fn with_short_chains(node: &Fixture) -> Fixture {
    node.with(|options| {
        options.chain = ChainLimits {
            layers: 2,
            ..ChainLimits::default()
        };
    })
}

/// A node of this moment: what another process did meanwhile is in its index.
fn new_node() -> Fixture {
    with_short_chains(&fixture::new())
}

/// What a node does that is about to die. Run by the tests below alone.
#[tokio::test]
#[ignore = "a part of the other tests of this file"]
async fn one_operation() {
    let operation = env::var(OPERATION).unwrap();
    let node = new_node();
    let (victim, child) = (victim(), child());
    match operation.as_str() {
        "launch" => drop(launch(&node).await),
        "suspend" => drop(node.suspend(&victim).await),
        "template" => drop(node.machine(&victim).unwrap().snapshot().await),
        "seal" => drop(node.seal_for(&victim, &child).await),
        "fork" => drop(node.fork(&victim, &child).await),
        "resume" => drop(node.resume(&victim).await),
        "remove" => drop(node.erase(&victim).await),
        "launch, suspend" => {
            // With a VMM that dies on the way, or two.
            if let Ok(machine) = launch(&node).await {
                let _ = dirty(&machine).await;
                let _ = machine.suspend().await;
            }
        }
        "suspend, resume" => {
            let _ = node.suspend(&victim).await;
            let _ = node.resume(&victim).await;
        }
        other => panic!("{other}"),
    }
}

async fn launch(node: &Fixture) -> Result<Machine, hearth_node::NodeError> {
    let template = guest::template(node).await;
    let request = CloneRequest::new(template);
    let launched = node.clone_snapshot(&victim(), request).await?;
    Ok(launched.machine)
}

async fn dirty(machine: &Machine) -> String {
    ask(machine, "dirty 4 77").await
}

/// Does something in a process of its own.
fn perform(operation: &str, vmm_point: Option<&str>) -> Output {
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args([
            "--exact",
            "crash_points::one_operation",
            "--ignored",
            "--nocapture",
        ])
        .env(OPERATION, operation);
    if let Some(point) = vmm_point {
        command.env(VMM_CRASH_POINT, point);
    }
    command.output().unwrap()
}

fn was_killed(status: ExitStatus) -> bool {
    status.signal() == Some(9)
}

/// Runs an operation in a node that dies at `point`; the point was reached.
fn die_at(point: &str, operation: &str) {
    let file = fixture::new().layout().data().join(crash_point::FILE);
    fs::write(&file, point).unwrap();
    let output = perform(operation, None);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(was_killed(output.status), "{point} of {operation}: {said}");
    assert!(!file.exists(), "{point} was not reached by {operation}");
}

/// A node as the service's next start makes it, once it is at rest.
async fn restarted() -> Fixture {
    let node = new_node();
    node.sweep().await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(120);
    for name in [victim(), child()] {
        while node.standing(&name).await == Standing::Busy {
            assert!(Instant::now() < deadline, "{name} is wedged");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    node
}

/// The victim is there, running or suspended, and has what it had.
async fn assert_not_lost(node: &Fixture, what: &str) {
    let machine = match node.standing(&victim()).await {
        Standing::Runs => node.machine(&victim()).unwrap(),
        Standing::Suspended => node.resume(&victim()).await.unwrap().machine,
        other => panic!("{what}: {other:?}"),
    };
    assert_eq!(ask(&machine, CHECK).await, "ok", "{what}");
    // And it sleeps and wakes as before.
    machine.suspend().await.unwrap();
    let machine = node.resume(&victim()).await.unwrap().machine;
    assert_eq!(ask(&machine, CHECK).await, "ok", "{what}");
}

async fn assert_nothing_is_left(node: &Fixture, what: &str) {
    for name in [victim(), child()] {
        node.erase(&name).await.unwrap();
    }
    for snapshot in node.snapshots() {
        let of = &snapshot.record.machine;
        if *of == victim().to_string() || *of == child().to_string() {
            // A template that was sealed before its node died belongs to whoever asked for it.
            assert_eq!(snapshot.record.purpose, Purpose::Template, "{what}");
            node.delete_snapshot(snapshot.id).await.unwrap();
        }
    }
    assert!(node.names().is_empty(), "{what}: {:?}", node.names());
    let layout = node.layout();
    let on_disk = fs::read_dir(layout.snapshots()).unwrap().count();
    assert_eq!(
        on_disk,
        node.snapshots().len(),
        "{what}: nothing half is left"
    );
}

/// Whatever lies among the snapshots was sealed and is whole.
fn assert_no_half_layer(node: &Fixture, what: &str) {
    for entry in fs::read_dir(node.layout().snapshots()).unwrap() {
        let path = entry.unwrap().path();
        let problems = hearth_snapshot::verify(&path);
        assert!(
            problems.is_empty(),
            "{what}: {}: {problems:?}",
            path.display()
        );
    }
}

async fn running_victim() -> Fixture {
    let node = with_short_chains(&fixture::node().await);
    let machine = launch(&node).await.unwrap();
    assert_eq!(dirty(&machine).await, "ok");
    node
}

/// One that sleeps for the second time: its next suspend folds.
async fn victim_with_layers(layers: u32) -> Fixture {
    let node = running_victim().await;
    for _ in 0..layers {
        node.suspend(&victim()).await.unwrap();
        node.resume(&victim()).await.unwrap();
    }
    node
}

const LAUNCH: [&str; 5] = [
    "launch.directory",
    "launch.spawned",
    "launch.recorded",
    "launch.started",
    "launch.unique",
];
const SUSPEND: [&str; 6] = [
    "seal.intent",
    "seal.frozen",
    "seal.answered",
    "finish.taken-in",
    "finish.recorded",
    "finish.placed",
];
const SEAL: [&str; 6] = [
    "seal.intent",
    "seal.frozen",
    "seal.answered",
    "finish.taken-in",
    "finish.recorded",
    "finish.stands-on-it",
];
const FORK: [&str; 3] = ["fork.sealed", "fork.reserved", "fork.launched"];
const RESUME: [&str; 4] = [
    "launch.recorded",
    "launch.unique",
    "resume.launched",
    "resume.confirmed",
];
const REMOVE: [&str; 3] = ["remove.ended", "remove.marked", "remove.removed"];

#[test]
fn every_point_has_its_test() {
    let tried = [&LAUNCH[..], &SUSPEND, &SEAL, &FORK, &RESUME, &REMOVE].concat();
    for point in crash_point::POINTS {
        assert!(tried.contains(point), "{point}");
    }
}

#[tokio::test]
async fn a_node_killed_in_a_launch_leaves_it_whole_or_not_at_all() {
    guest::template(&fixture::node().await).await;
    for point in LAUNCH {
        die_at(point, "launch");
        let node = restarted().await;
        match node.standing(&victim()).await {
            // Whether it is unique is not known: whoever launches it does it again.
            Standing::Runs | Standing::Gone => {}
            other => panic!("{point}: {other:?}"),
        }
        assert_nothing_is_left(&node, point).await;
    }
}

#[tokio::test]
async fn a_node_killed_in_a_suspend_loses_nothing() {
    for (point, layers) in SUSPEND.iter().zip([0, 2, 0, 2, 0, 2]) {
        drop(victim_with_layers(layers).await);
        die_at(point, "suspend");
        let node = restarted().await;
        assert_not_lost(&node, point).await;
        assert_nothing_is_left(&node, point).await;
    }
}

#[tokio::test]
async fn a_node_killed_in_a_seal_leaves_the_parent_as_it_was() {
    for (index, point) in SEAL.iter().enumerate() {
        drop(victim_with_layers(if index % 2 == 0 { 0 } else { 2 }).await);
        die_at(point, if index < 3 { "template" } else { "seal" });
        let node = restarted().await;
        assert_eq!(node.standing(&victim()).await, Standing::Runs, "{point}");
        assert_not_lost(&node, point).await;
        assert_nothing_is_left(&node, point).await;
    }
}

#[tokio::test]
async fn a_node_killed_in_a_fork_leaves_the_parent_and_no_half_child() {
    for point in FORK {
        drop(running_victim().await);
        die_at(point, "fork");
        let node = restarted().await;
        assert_eq!(node.standing(&victim()).await, Standing::Runs, "{point}");
        if node.standing(&child()).await == Standing::Runs {
            let machine = node.machine(&child()).unwrap();
            assert_eq!(ask(&machine, CHECK).await, "ok", "{point}");
        }
        assert_not_lost(&node, point).await;
        assert_nothing_is_left(&node, point).await;
    }
}

#[tokio::test]
async fn a_node_killed_in_a_resume_loses_nothing() {
    for point in RESUME {
        running_victim().await.suspend(&victim()).await.unwrap();
        die_at(point, "resume");
        let node = restarted().await;
        assert_not_lost(&node, point).await;
        assert_nothing_is_left(&node, point).await;
    }
}

#[tokio::test]
async fn a_node_killed_in_a_removal_removes_the_rest_the_next_time() {
    for point in REMOVE {
        running_victim().await.suspend(&victim()).await.unwrap();
        die_at(point, "remove");
        let node = restarted().await;
        assert_nothing_is_left(&node, point).await;
    }
}

/// A VMM that dies at any of its points, whatever its node is about.
#[tokio::test]
async fn a_vmm_killed_at_any_point_leaves_a_whole_snapshot_or_none() {
    guest::template(&fixture::node().await).await;
    for (_, point) in CRASH_POINTS {
        let operation = match point {
            // Only what goes on is stacked.
            "seal.disks-stacked" => continue,
            _ => "launch, suspend",
        };
        let output = perform(operation, Some(point));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{point}: {said}");
        let node = restarted().await;
        assert_no_half_layer(&node, point);
        match node.standing(&victim()).await {
            Standing::Suspended => assert_not_lost(&node, point).await,
            // It had no snapshot yet when its VMM ended.
            Standing::Gone => {}
            other => panic!("{point}: {other:?}"),
        }
        let is_sealed = matches!(point, "seal.durable" | "suspend.replied");
        if is_sealed {
            assert_ne!(node.standing(&victim()).await, Standing::Gone, "{point}");
        }
        assert_nothing_is_left(&node, point).await;
    }
}

/// Both at once: the node right after it has asked, its VMM in the middle of the answer.
#[tokio::test]
async fn a_node_and_its_vmm_killed_together_leave_a_whole_snapshot_or_none() {
    for point in [
        "seal.frozen",
        "seal.answered",
        "finish.taken-in",
        "finish.placed",
    ] {
        let before = running_victim().await;
        let process = before.machine(&victim()).unwrap().record().process;
        drop(before);
        die_at(point, "suspend");
        process.kill();
        assert!(process.wait_for_exit(Duration::from_secs(10)).await);
        let node = restarted().await;
        match node.standing(&victim()).await {
            Standing::Suspended => assert_not_lost(&node, point).await,
            Standing::Gone => assert_eq!(point, "seal.frozen", "it was sealed"),
            other => panic!("{point}: {other:?}"),
        }
        assert_nothing_is_left(&node, point).await;
    }
}
