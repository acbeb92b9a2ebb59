//! A disk that is full at each write of a suspend, a fork, a launch and a resume: nothing is lost, nothing is left, and what failed
//! is done once there is room.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hearth_machine_tests::guest::{self, Fixture, ask, name};
use hearth_node::{
    CloneRequest, DiskRequest, Machine, MachineName, NodeError, SnapshotInfo, Standing, with_causes,
};
use hearth_snapshot::SnapshotId;
use hearth_wire::agent::ExitStatus;
use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::fixture;

const PAGE: u64 = 4096;

/// A file system in memory with little room, all of which a file may take.
struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    fn mount(text: &str) -> Self {
        let path = guest::scratch().join(text);
        fs::create_dir_all(&path).unwrap();
        let options = c"size=512m,mode=700";
        mount("tmpfs", &path, "tmpfs", MountFlags::empty(), options).unwrap();
        Self { path }
    }

    /// A node on it.
    async fn node(&self) -> Fixture {
        fixture::node().await.at(self.path.join("node"))
    }

    /// A node on it with the template of the others.
    async fn node_with_template(&self) -> (Fixture, SnapshotId) {
        let others = fixture::node().await;
        let id = guest::template(&others).await;
        let node = others.at(self.path.join("node"));
        let (from, to) = (others.layout().snapshot(id), node.layout().snapshot(id));
        fs::create_dir(&to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
        fill_holes(&to.join("memory"));
        (node, id)
    }

    /// Leaves so much room and no more.
    fn leave(&self, bytes: u64) {
        let filler = self.path.join("filler");
        let file = File::options().create(true).append(true).open(filler);
        let file = file.unwrap();
        let length = file.metadata().unwrap().len();
        let found = statvfs(&self.path).unwrap();
        let free = found.f_bavail * found.f_frsize;
        match free.checked_sub(bytes) {
            Some(0) => {}
            Some(much) => fallocate(&file, FallocateFlags::empty(), length, much).unwrap(),
            None => file.set_len(length + free - bytes).unwrap(),
        }
    }

    fn leave_all(&self) {
        let _ = fs::remove_file(self.path.join("filler"));
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Processes of a test that failed may still have it open.
        let _ = unmount(&self.path, UnmountFlags::DETACH);
    }
}

/// A hole of a file in a tmpfs takes room when a guest reads it from the mapped file, and without room the VMM ends. A file system on a
/// disk is not like that, so here there are no holes.
fn fill_holes(memory: &Path) {
    let file = File::options().read(true).write(true).open(memory).unwrap();
    let mut block = vec![0; 1 << 20];
    for offset in (0..file.metadata().unwrap().len()).step_by(block.len()) {
        file.read_exact_at(&mut block, offset).unwrap();
        file.write_all_at(&block, offset).unwrap();
    }
}

/// What a failure says of the write that failed: what was tried, and the file.
fn step(error: &NodeError) -> String {
    let said = with_causes(error);
    assert!(said.contains("No space left on device"), "{said}");
    let (tried, path) = said.split_once(" (").unwrap_or((&said, ""));
    let path = path.split(')').next().unwrap_or_default();
    let file = Path::new(path).file_name().unwrap_or_default();
    format!("{tried} {}", file.display())
}

/// How much room there is for each attempt at something: a little more after each that failed, so that each of its writes is the first
/// without room once.
struct Room {
    bytes: u64,
    /// For memory, which is written first and most.
    step: u64,
    failed: BTreeSet<String>,
}

impl Room {
    fn new() -> Self {
        Self {
            bytes: 0,
            step: 64 * PAGE,
            failed: BTreeSet::new(),
        }
    }

    fn after_failure(&mut self, step: String) {
        println!("{} bytes free: {step}", self.bytes);
        self.bytes += match step.contains("write a layer") {
            true => self.step,
            false => PAGE,
        };
        self.failed.insert(step);
    }

    /// Whether that was all. If not, the step for memory stepped over the other writes, and it begins again with a smaller one.
    fn after_success(&mut self) -> bool {
        println!("{} bytes free: done; {:#?}", self.bytes, self.failed);
        let others = |step: &&String| step.ends_with("state") || step.ends_with("hashes");
        if self.failed.iter().any(|step| others(&step)) {
            return true;
        }
        assert!(self.step > PAGE, "{:?}", self.failed);
        self.bytes = 0;
        self.step /= 4;
        false
    }
}

/// Nothing unfinished is left in a microVM's directory.
fn assert_clean(node: &Fixture, machine: &Machine) {
    for directory in [machine.directory(), machine.own_directory()] {
        for entry in fs::read_dir(&directory).unwrap() {
            let left = entry.unwrap().file_name().into_string().unwrap();
            let unfinished = ["outgoing", "incoming", "partial", ".new"];
            assert!(
                !unfinished.iter().any(|part| left.contains(part)),
                "{left} is left"
            );
        }
    }
    assert_eq!(node.look(machine.name()), Standing::Runs);
}

/// What the VMM says is in the test's output if it does not.
async fn assert_goes_on(machine: &Machine) {
    let before = match machine.agent().proxy(hearth_machine_tests::PORT).await {
        Ok(_) => guest::counter(machine).await,
        Err(error) => {
            let log = fs::read_to_string(machine.directory().join("vmm.log"));
            panic!(
                "{error}: {:?}; {log:?}; {}",
                machine.status().await,
                guest::serial(machine)
            );
        }
    };
    let deadline = Instant::now() + Duration::from_secs(20);
    while guest::counter(machine).await == before {
        assert!(Instant::now() < deadline, "it stands still");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_suspend_without_room_leaves_the_microvm_running_at_each_write() {
    let disk = SmallDisk::mount("full-suspend");
    let (node, template) = disk.node_with_template().await;
    let sleeper = name("sleeper");
    let request = CloneRequest::new(template);
    let machine = node.clone_snapshot(&sleeper, request).await.unwrap();
    let machine = machine.machine;
    assert_eq!(ask(&machine, "dirty 1 61").await, "ok");

    let mut room = Room::new();
    loop {
        disk.leave(room.bytes);
        let Err(error) = node.machine(&sleeper).unwrap().suspend().await else {
            if room.after_success() {
                break;
            }
            disk.leave_all();
            node.resume(&sleeper).await.unwrap();
            continue;
        };
        room.after_failure(step(&error));
        let machine = node.machine(&sleeper).unwrap();
        assert_goes_on(&machine).await;
        assert_eq!(ask(&machine, "check 1 61").await, "ok");
        assert_clean(&node, &machine);
    }
    // Perhaps there was no room for its record among the others.
    println!("put into place: {}", node.suspended(&sleeper).is_ok());
    assert_eq!(node.standing(&sleeper).await, Standing::Suspended);

    disk.leave(0);
    let error = node.resume(&sleeper).await.unwrap_err();
    step(&error);
    assert_eq!(node.standing(&sleeper).await, Standing::Suspended);
    // A start of the service with a full disk loses it as little.
    node.sweep().await.unwrap();
    assert_eq!(node.standing(&sleeper).await, Standing::Suspended);

    disk.leave_all();
    let machine = node.resume(&sleeper).await.unwrap().machine;
    assert_eq!(ask(&machine, "check 1 61").await, "ok");
    machine.terminate().await.unwrap();
    let of_it = |snapshot: &Arc<SnapshotInfo>| snapshot.record.machine == "sleeper";
    assert!(!node.snapshots().iter().any(of_it));
}

#[tokio::test]
async fn a_fork_without_room_leaves_the_parent_as_it_was_at_each_write() {
    let disk = SmallDisk::mount("full-fork");
    let node = disk.node().await;
    let (parent_name, child) = (name("parent"), name("child"));
    let mut first = with_disk(&node, &name("first")).await;
    let (template, _) = first.snapshot().await.unwrap();
    first.terminate().await.unwrap();
    fill_holes(&node.layout().snapshot(template).join("memory"));
    let request = CloneRequest::new(template);
    let parent = node.clone_snapshot(&parent_name, request).await.unwrap();
    let parent = parent.machine;
    let write = ["/bin/test-guest", "write-disk", "/dev/vda", "71"];
    assert_eq!(guest::exec(&parent, &write).await.0, ExitStatus::Code(0));
    let mut room = Room::new();
    loop {
        disk.leave(room.bytes);
        let Err(error) = node.seal_for(&parent_name, &child).await else {
            if room.after_success() {
                break;
            }
            node.erase(&child).await.unwrap();
            continue;
        };
        room.after_failure(step(&error));
        assert_goes_on(&parent).await;
        assert!(!node.layout().machine(&child).exists());
        let parent = node.machine(&parent_name).unwrap();
        assert!(!parent.record().have_disks_diverged);
    }

    disk.leave_all();
    let child = node.launch_fork(&child, None).await.unwrap().machine;
    let check = ["/bin/test-guest", "check-disk", "/dev/vda", "71"];
    assert_eq!(guest::exec(&child, &check).await.0, ExitStatus::Code(0));
    child.terminate().await.unwrap();
    // It goes on, and sleeps, as one that was never refused anything.
    let parent = node.machine(&parent_name).unwrap();
    parent.suspend().await.unwrap();
    let parent = node.resume(&parent_name).await.unwrap().machine;
    assert_eq!(guest::exec(&parent, &check).await.0, ExitStatus::Code(0));
    parent.terminate().await.unwrap();
}

#[tokio::test]
async fn a_launch_without_room_leaves_nothing() {
    let disk = SmallDisk::mount("full-launch");
    let (node, template) = disk.node_with_template().await;
    let new = name("new");
    let mut failures = 0;
    for room in (0..8).map(|pages| pages * PAGE) {
        disk.leave(room);
        let request = CloneRequest::new(template);
        match node.clone_snapshot(&new, request).await {
            Ok(launched) => launched.machine.terminate().await.unwrap(),
            // A VMM that has no room for its socket has none for a log that says so.
            Err(_) => failures += 1,
        }
        assert!(node.names().is_empty());
        assert_no_process_of(&node, &new).await;
    }
    assert!(failures > 0);
}

/// A guest that was told of an error would give up its file system.
#[tokio::test]
async fn a_guest_that_writes_to_a_full_disk_waits() {
    let disk = SmallDisk::mount("full-guest");
    let node = disk.node().await;
    let writer = name("writer");
    let machine = with_disk(&node, &writer).await;
    disk.leave(16 * PAGE);
    let agent = machine.agent();
    let write = ["/bin/test-guest", "write-disk", "/dev/vda", "81"];
    let writing = tokio::spawn(async move { guest::exec_through(&agent, &write).await });
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(!writing.is_finished());
    guest::counter(&machine).await;

    disk.leave_all();
    let (status, said) = writing.await.unwrap();
    assert_eq!(status, ExitStatus::Code(0), "{said}");
    // What was held back is in the snapshot too.
    machine.suspend().await.unwrap();
    let machine = node.resume(&writer).await.unwrap().machine;
    let check = ["/bin/test-guest", "check-disk", "/dev/vda", "81"];
    let (status, said) = guest::exec(&machine, &check).await;
    assert_eq!(status, ExitStatus::Code(0), "{said}");
    machine.terminate().await.unwrap();
}

/// A microVM with a disk to write to.
async fn with_disk(node: &Fixture, name: &MachineName) -> Machine {
    let image = guest::scratch().join(format!("{name}.raw"));
    File::create(&image).unwrap().set_len(64 << 20).unwrap();
    let request = DiskRequest {
        serial: "data".to_owned(),
        image,
        overlays: Vec::new(),
        is_writable: true,
    };
    let booted = node.boot(name, node.boot_request(1, vec![request])).await;
    let mut machine = booted.unwrap().machine;
    machine.start_application(guest::serve()).await.unwrap();
    guest::wait_until_serving(&machine).await;
    machine
}

/// The process of a launch that failed ends at once, but not before the launch's answer.
async fn assert_no_process_of(node: &Fixture, name: &MachineName) {
    let directory = node.layout().machine(name);
    let directory = directory.as_os_str().as_encoded_bytes();
    let is_there = || {
        fs::read_dir("/proc").unwrap().any(|entry| {
            let line = fs::read(entry.unwrap().path().join("cmdline")).unwrap_or_default();
            line.split(|byte| *byte == 0)
                .any(|word| word.starts_with(directory))
        })
    };
    for _ in 0..100 {
        if !is_there() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("a process of {name} is left");
}
