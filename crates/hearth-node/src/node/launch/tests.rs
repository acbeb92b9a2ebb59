use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use super::*;
use crate::cgroup::Groups;
use crate::node::{DeviceLimits, NodeOptions, Standing};

fn node(data: &Path, limits: DeviceLimits) -> Node {
    Node::open(NodeOptions {
        limits,
        ..NodeOptions::new(data.to_owned(), "hearth-vmm".into())
    })
    .unwrap()
}

fn disk(serial: &str, is_writable: bool) -> DiskStack {
    fresh_stack(DiskRequest {
        serial: serial.to_owned(),
        image: "/image".into(),
        overlays: Vec::new(),
        is_writable,
    })
}

#[test]
fn limits_of_a_node_are_those_of_every_device() {
    let data = tempfile::tempdir().unwrap();
    let limit = |bytes| RateLimit {
        bytes_per_second: Some(bytes),
        operations_per_second: Some(9),
    };
    let limits = DeviceLimits {
        disk: Some(limit(5)),
        network: Some(limit(7)),
    };
    let disks = [disk("base", false), disk("scratch", true)];
    let name = "limited".parse().unwrap();
    let devices = node(data.path(), limits).devices(&name, &disks, true);
    assert_eq!(devices.disks.len(), 2);
    assert!(
        devices
            .disks
            .iter()
            .all(|disk| disk.rate_limit == limits.disk)
    );
    assert_eq!(devices.nets[0].rate_limit, limits.network);

    let devices = node(data.path(), DeviceLimits::default()).devices(&name, &disks, true);
    assert!(devices.disks.iter().all(|disk| disk.rate_limit.is_none()));
    assert_eq!(devices.nets[0].rate_limit, None);
}

/// A node with one user and that program in place of a VMM; nothing, where this is not root and users are nobody's to give.
fn node_of_one_user(data: &Path, script: &str) -> Option<Node> {
    let program = data.join("program");
    fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let options = NodeOptions::new(data.to_owned(), program).with_users(70_000..=70_000);
    let is_root = options.users.is_some();
    is_root.then(|| Node::open(options).unwrap())
}

/// As [`Node::boot`], without what that does when a start fails.
async fn start(node: &Node, name: &MachineName) -> Result<(Machine, Started), NodeError> {
    let kernel = node.layout().data().join("kernel");
    fs::write(&kernel, "").unwrap();
    let spec = BootSpec {
        kernel,
        initramfs: None,
        command_line: String::new(),
        vcpus: 1,
        memory_mib: 1,
        devices: DeviceSpec::default(),
    };
    let record = |process, slot, user| MachineRecord {
        process,
        user,
        memory_mib: 1,
        vcpus: 1,
        disks: Vec::new(),
        parent: None,
        network: network_record(slot, Egress::closed()),
        has_application: false,
        pending: None,
        folds: Vec::new(),
        overlay_generation: 0,
        have_disks_diverged: false,
    };
    node.in_turn(name, move |instance| async move {
        instance.make_directory().await?;
        instance
            .start(
                Command::Boot(Box::new(spec)),
                None,
                record,
                &mut Laps::begin(),
            )
            .await
    })
    .await
}

/// Whether the node's one user can be had.
fn is_free(node: &Node) -> bool {
    node.reserve(&"other".parse().unwrap(), None).is_ok()
}

async fn until_free(node: &Node) {
    const PAUSE: Duration = Duration::from_millis(5);
    for _ in 0..2000 {
        if is_free(node) {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
    panic!("the user was never given back");
}

#[tokio::test]
async fn a_launch_without_a_process_gives_its_user_back_at_once() {
    let data = tempfile::tempdir().unwrap();
    let Some(node) = node_of_one_user(data.path(), "") else {
        return;
    };
    fs::remove_file(data.path().join("program")).unwrap();
    let failed = start(&node, &"never".parse().unwrap()).await;
    assert!(
        matches!(failed, Err(NodeError::Vmm(VmmError::Spawn { .. }))),
        "{failed:?}"
    );
    assert!(is_free(&node));
}

#[tokio::test]
async fn a_launch_that_fails_keeps_its_user_until_its_process_is_gone() {
    let data = tempfile::tempdir().unwrap();
    // What it answers is nothing that a VMM says, and it goes on.
    let Some(node) = node_of_one_user(data.path(), "echo nonsense >&0\nexec sleep 600") else {
        return;
    };
    let name: MachineName = "failed".parse().unwrap();
    let failed = start(&node, &name).await;
    assert!(failed.is_err(), "{failed:?}");
    let process = node.machine(&name).unwrap().record().process;
    assert!(process.is_alive());
    assert!(!is_free(&node), "a living process has it");
    process.kill();
    until_free(&node).await;
    assert!(!process.is_alive());
}

#[tokio::test]
async fn a_launch_waits_for_what_a_failed_one_of_its_name_held() {
    let data = tempfile::tempdir().unwrap();
    let Some(node) = node_of_one_user(data.path(), "echo nonsense >&0\nexec sleep 600") else {
        return;
    };
    let name: MachineName = "again".parse().unwrap();
    let kernel = data.path().join("kernel");
    fs::write(&kernel, "").unwrap();
    for _ in 0..20 {
        let request = BootRequest {
            kernel: kernel.clone(),
            initramfs: kernel.clone(),
            command_line: String::new(),
            vcpus: 1,
            memory_mib: 64,
            disks: Vec::new(),
            egress: Egress::closed(),
        };
        let failed = node.boot(&name, request).await;
        // Not that there is no user: the one before has given it back.
        assert!(matches!(failed, Err(NodeError::Vmm(_))), "{failed:?}");
        assert!(!node.layout().machine(&name).exists());
    }
    assert!(is_free(&node));
}

/// A launch whose caller has gone away is undone, and one that is removed meanwhile gives up.
#[tokio::test]
async fn a_launch_that_nobody_waits_for_or_wants_ends() {
    let data = tempfile::tempdir().unwrap();
    let Some(node) = node_of_one_user(data.path(), "exec sleep 600") else {
        return;
    };
    let name: MachineName = "unwanted".parse().unwrap();
    let kernel = data.path().join("kernel");
    fs::write(&kernel, "").unwrap();
    let launch = || {
        let (node, name, kernel) = (node.clone(), name.clone(), kernel.clone());
        async move {
            let request = BootRequest {
                kernel: kernel.clone(),
                initramfs: kernel,
                command_line: String::new(),
                vcpus: 1,
                memory_mib: 64,
                disks: Vec::new(),
                egress: Egress::closed(),
            };
            node.boot(&name, request).await
        }
    };
    let until_started = async || {
        while node.machine(&name).is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let launching = tokio::spawn(launch());
    until_started().await;
    launching.abort();
    until_free(&node).await;
    // Its process is gone before its record is.
    while node.machine(&name).is_ok() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    let launching = tokio::spawn(launch());
    until_started().await;
    node.erase(&name).await.unwrap();
    launching.await.unwrap().unwrap_err();
    assert!(!node.layout().machine(&name).exists());
    assert!(is_free(&node));
    assert_eq!(node.standing(&name).await, Standing::Gone);
}

#[tokio::test]
async fn what_an_adopted_process_had_is_given_back_when_it_has_died_and_is_settled() {
    let data = tempfile::tempdir().unwrap();
    let Some(first) = node_of_one_user(data.path(), "echo nonsense >&0\nexec sleep 600") else {
        return;
    };
    let name: MachineName = "adopted".parse().unwrap();
    start(&first, &name).await.unwrap_err();
    let process = first.machine(&name).unwrap().record().process;
    // A later node, which is not the process's parent and is not told of its end.
    let options = first.options().clone();
    let later = Node::open(options).unwrap();
    assert!(later.settle(&name).await.unwrap(), "it runs");
    assert!(!is_free(&later), "it has its user");
    process.kill();
    // The first one collects it.
    until_free(&first).await;
    assert!(!is_free(&later), "nobody has told it");
    assert!(!later.settle(&name).await.unwrap());
    assert!(is_free(&later));
    assert!(!later.layout().machine(&name).exists());
    // Once: whoever has the user now keeps it.
    let (_, _reserved) = later.reserve(&"next".parse().unwrap(), None).unwrap();
    later.release(process);
    assert!(!is_free(&later));
}

/// A guest that ran before its VMM was in its group would have memory and processors that nobody counts (finding L1). The group here
/// lets nobody in until a pipe is read.
#[tokio::test]
async fn a_vmm_is_asked_for_a_guest_once_its_group_has_it() {
    let data = tempfile::tempdir().unwrap();
    let (asked, program) = (data.path().join("asked"), data.path().join("program"));
    let script = format!(
        "#!/bin/sh\nhead --bytes=1 >/dev/null\n: >{}\n",
        asked.display()
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
    let groups = data.path().join("groups/own");
    let group = groups.join("guest");
    fs::create_dir_all(&group).unwrap();
    let entrance = group.join("cgroup.procs");
    let made = std::process::Command::new("mkfifo").arg(&entrance).status();
    assert!(made.unwrap().success());
    let node = Node::open(NodeOptions {
        groups: Some(Groups::at(groups, None)),
        users: None,
        ..NodeOptions::new(data.path().join("data"), program)
    })
    .unwrap();
    let request = BootRequest {
        kernel: "/kernel".into(),
        initramfs: "/initramfs".into(),
        command_line: String::new(),
        vcpus: 1,
        memory_mib: 512,
        disks: Vec::new(),
        egress: Egress::closed(),
    };
    let name: MachineName = "guest".parse().unwrap();
    let booted = {
        let (node, name) = (node.clone(), name.clone());
        tokio::spawn(async move { node.boot(&name, request).await })
    };
    let limit = Duration::from_secs(20);
    let began = Instant::now();
    while node.machine(&name).is_err() {
        assert!(began.elapsed() < limit, "it was not started");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Longer than a shell takes to read a byte.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let was_asked = asked.exists();
    let pid = tokio::task::spawn_blocking(move || fs::read_to_string(entrance).unwrap());
    let process = node.machine(&name).unwrap().record().process;
    assert_eq!(pid.await.unwrap(), process.pid.to_string());
    assert!(!was_asked, "it was asked before it was limited");
    // What the program does then is not what a VMM does.
    booted.await.unwrap().unwrap_err();
    assert!(asked.exists());
    assert!(node.machine(&name).is_err(), "nothing is left of it");
    assert_eq!(
        node.end_of(process).await,
        Some(crate::vmm_end::VmmEnd::GuestShutDown)
    );
}

/// Its user is about to be given to another (finding L6).
#[tokio::test]
async fn a_process_that_cannot_be_named_does_not_live_on() {
    let child = tokio::process::Command::new("sleep").arg("600").spawn();
    let child = child.unwrap();
    let process = ProcessRecord::of(child.id().unwrap()).unwrap();
    let identified = identify(child, |_| None).await;
    assert!(matches!(identified, Err(VmmError::Confused)));
    assert!(!process.is_alive());
}
