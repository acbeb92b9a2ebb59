//! What one microVM may take of its host.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hearth_machine_tests::guest;
use hearth_machine_tests::guest::{ask, exec, name};
use hearth_node::{
    CloneRequest, DeviceLimits, DiskRequest, Groups, Machine, Shares, limitable_device,
};
use hearth_wire::agent::ExitStatus;
use hearth_wire::vmm::RateLimit;

use crate::fixture::node;

/// The group of a process, as a path.
fn group_of(pid: u32) -> PathBuf {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"));
    Path::new("/sys/fs/cgroup").join(path.unwrap())
}

const HANDED_DOWN: &str = "/sys/fs/cgroup/cgroup.subtree_control";

/// The controllers that groups below the root have. Of an init like systemd they are there before, and used.
fn handed_down() -> BTreeSet<String> {
    let text = fs::read_to_string(HANDED_DOWN).unwrap();
    text.split_whitespace().map(str::to_owned).collect()
}

fn limit(group: &Path, file: &str) -> String {
    fs::read_to_string(group.join(file))
        .unwrap()
        .trim()
        .to_owned()
}

#[tokio::test]
async fn every_machine_has_a_group_of_its_size() {
    let before = handed_down();
    let plain = node().await;
    let snapshot = guest::template(&plain).await;
    let groups = Groups::open(plain.layout().data()).unwrap();
    let disk = RateLimit {
        bytes_per_second: Some(512 << 20),
        operations_per_second: Some(10_000),
    };
    let limits = DeviceLimits {
        disk: Some(disk),
        network: None,
    };
    let node = plain.with(|options| {
        options.groups = Some(groups.clone());
        options.limits = limits;
    });
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
    assert_eq!(
        limit(&group, "cpu.weight"),
        "25",
        "what it uses is not known yet"
    );
    // A quarter of what its guest sees, and the VMM's own share; the groups above have at least that.
    let kept = |group: &Path| limit(group, "memory.min").parse::<u64>().unwrap();
    assert_eq!(kept(&group), guest / 4 + (96 << 20));
    for above in group.ancestors().skip(1).take(2) {
        assert!(kept(above) >= kept(&group), "{}", above.display());
    }
    assert_eq!(limit(&group, "pids.max"), "33");
    assert_eq!(limit(&group, "memory.oom.group"), "1");
    match limitable_device(plain.layout().data()) {
        Ok(device) => assert_eq!(
            limit(&group, "io.max"),
            format!("{device} rbps=536870912 wbps=536870912 riops=10000 wiops=10000")
        ),
        Err(reason) => println!("io.max is not tried: {reason}"),
    }
    // It works in there, with all of its memory.
    assert_eq!(ask(&machine, "dirty 100 1").await, "ok");
    assert_eq!(ask(&machine, "check 40 1").await, "ok");
    let events = limit(&group, "memory.events");
    assert!(events.contains("oom_kill 0"), "{events}");

    // It computes all the time, on what counts as the only processor, and does not go first.
    let mut shares = Shares::new(groups, 1);
    shares.look();
    for _ in 0..4 {
        let hog = ["/bin/busybox", "timeout", "2", "/bin/busybox", "sh", "-c"];
        exec(&machine, &[&hog[..], &["while :; do :; done"]].concat()).await;
        shares.look();
    }
    assert_eq!(limit(&group, "cpu.weight"), "25");

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

    // What follows on the same host finds it as it was.
    let own = stale.parent().unwrap();
    fs::remove_dir(own).unwrap();
    fs::remove_dir(own.parent().unwrap()).unwrap();
    for controller in handed_down().difference(&before) {
        fs::write(HANDED_DOWN, format!("-{controller}")).unwrap();
    }
}

const MIB: usize = 1 << 20;

/// How long a guest takes to read eight MiB of its disk, past its page cache.
async fn read_disk(machine: &Machine) -> Duration {
    let read = [
        "dd",
        "if=/dev/vda",
        "of=/dev/null",
        "bs=1M",
        "count=8",
        "iflag=direct",
    ];
    let began = Instant::now();
    let (status, output) = exec(machine, &[&["/bin/busybox"], &read[..]].concat()).await;
    assert_eq!(status, ExitStatus::Code(0), "{output}");
    began.elapsed()
}

#[tokio::test]
async fn a_disk_is_as_slow_as_its_limit_after_a_boot_and_after_a_restore() {
    let plain = node().await;
    let rate = RateLimit {
        bytes_per_second: Some(MIB as u64),
        operations_per_second: None,
    };
    let limits = DeviceLimits {
        disk: Some(rate),
        network: None,
    };
    // One MiB was saved up.
    let least = Duration::from_secs(6);
    let image = guest::scratch().join("limited.img");
    fs::write(&image, vec![7; 8 * MIB]).unwrap();
    let disk = DiskRequest {
        serial: "limited".to_owned(),
        image: image.clone(),
        overlays: Vec::new(),
        is_writable: false,
    };
    let limited = plain.with(|options| options.limits = limits);
    let (slow, fast) = (name("slow"), name("fast"));
    let booted = limited.boot(&slow, limited.boot_request(1, vec![disk]));
    let mut machine = booted.await.unwrap().machine;
    let took = read_disk(&machine).await;
    assert!(took >= least, "{took:?}");

    let (id, _) = machine.snapshot().await.unwrap();
    machine.terminate().await.unwrap();
    let clone = limited.clone_snapshot(&slow, CloneRequest::new(id));
    let machine = clone.await.unwrap().machine;
    let took = read_disk(&machine).await;
    assert!(took >= least, "{took:?}");
    machine.terminate().await.unwrap();

    // The control: it is the limit that is slow.
    let clone = plain.clone_snapshot(&fast, CloneRequest::new(id));
    let machine = clone.await.unwrap().machine;
    let took = read_disk(&machine).await;
    assert!(took < least / 2, "{took:?}");
    machine.terminate().await.unwrap();
    plain.delete_snapshot(id).await.unwrap();
    fs::remove_file(image).unwrap();
}
