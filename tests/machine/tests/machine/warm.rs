//! Guests that begin from a template of a booted guest: each has disks of its own, of other sizes, and shares nothing
//! with the others.

use std::fs;
use std::path::PathBuf;

use hearth_machine_tests::guest::{self, Fixture, name};
use hearth_node::{BlankDisks, BootRequest, DiskRequest, Machine, Purpose};
use hearth_wire::agent::ExitStatus;

use crate::fixture::node;

const MIB: usize = 1 << 20;

/// A file of so many MiB, each byte of which is `fill`.
fn image(text: &str, mib: usize, fill: u8) -> PathBuf {
    let path = guest::scratch().join(format!("warm-{text}.raw"));
    fs::write(&path, vec![fill; mib * MIB]).unwrap();
    path
}

fn request(node: &Fixture, read_only: PathBuf, writable: PathBuf) -> BootRequest {
    let disk = |serial: &str, image, is_writable| DiskRequest {
        serial: serial.to_owned(),
        image,
        overlays: Vec::new(),
        is_writable,
    };
    let disks = vec![disk("code", read_only, false), disk("data", writable, true)];
    node.boot_request(1, disks)
}

/// The size of a disk in MiB, and its first byte and its last, as the guest reads them.
async fn read(machine: &Machine, device: &str) -> (u64, String) {
    let argv = ["/bin/test-guest", "describe-disk", device];
    let (status, said) = guest::exec(machine, &argv).await;
    assert_eq!(status, ExitStatus::Code(0), "{said}");
    let (bytes, ends) = said.trim().split_once(' ').unwrap();
    (bytes.parse::<u64>().unwrap() >> 20, ends.to_owned())
}

#[tokio::test]
async fn a_booted_guest_is_begun_from_with_other_disks() {
    let node = node().await;
    let blank = BlankDisks {
        read_only: image("blank-code", 1, 0),
        writable: image("blank-data", 4, 0),
    };
    let booted = || {
        let of_it = |snapshot: &&std::sync::Arc<hearth_node::SnapshotInfo>| {
            snapshot.record.purpose == Purpose::Booted
        };
        node.snapshots().iter().filter(of_it).count()
    };
    assert_eq!(booted(), 0);
    let sizes = [("first", 2, 8, 1), ("second", 6, 3, 2), ("third", 1, 4, 3)];
    for (text, code_mib, data_mib, fill) in sizes {
        let code = image(&format!("{text}-code"), code_mib, fill);
        let data = image(&format!("{text}-data"), data_mib, fill + 100);
        let launched = node
            .boot_warm(&name(text), request(&node, code, data), &blank)
            .await
            .unwrap();
        assert_eq!(booted(), 1, "the first makes the template");
        let steps: Vec<_> = launched.times.steps.iter().map(|step| step.name).collect();
        assert!(steps.contains(&"disks known"), "{steps:?}: it booted");
        let mut machine = launched.machine;
        let ends = |fill: u8| format!("{fill} {fill}");
        assert_eq!(
            read(&machine, "/dev/vda").await,
            (code_mib as u64, ends(fill))
        );
        assert_eq!(
            read(&machine, "/dev/vdb").await,
            (data_mib as u64, ends(fill + 100))
        );
        // What it becomes stands on its own: template, clone, suspend.
        machine.start_application(guest::serve()).await.unwrap();
        guest::wait_until_serving(&machine).await;
        let write = ["/bin/test-guest", "write-disk", "/dev/vdb", "5"];
        assert_eq!(guest::exec(&machine, &write).await.0, ExitStatus::Code(0));
        let (id, _) = machine.snapshot().await.unwrap();
        assert_eq!(node.snapshot(id).await.unwrap().ancestors, []);
        machine.terminate().await.unwrap();
        let clone = hearth_node::CloneRequest::new(id);
        let clone = node.clone_snapshot(&name(text), clone).await.unwrap();
        clone.machine.suspend().await.unwrap();
        let clone = node.resume(&name(text)).await.unwrap().machine;
        guest::counter(&clone).await;
        let check = ["/bin/test-guest", "check-disk", "/dev/vdb", "5"];
        assert_eq!(guest::exec(&clone, &check).await.0, ExitStatus::Code(0));
        assert_eq!(read(&clone, "/dev/vda").await.0, code_mib as u64);
        clone.terminate().await.unwrap();
        node.delete_snapshot(id).await.unwrap();
    }

    // Of a base that is not in use any more nothing stays.
    let used = request(&node, blank.read_only.clone(), blank.writable.clone());
    let used = [(used.kernel, used.initramfs)];
    node.sweep_booted(&used).await.unwrap();
    assert_eq!(booted(), 1);
    node.sweep_booted(&[]).await.unwrap();
    assert_eq!(booted(), 0);
}

#[tokio::test]
async fn a_template_that_is_damaged_is_made_again() {
    let node = node().await;
    let blank = BlankDisks {
        read_only: image("again-blank-code", 1, 0),
        writable: image("again-blank-data", 4, 0),
    };
    let start = async || {
        let request = request(&node, blank.read_only.clone(), blank.writable.clone());
        let launched = node.boot_warm(&name("again"), request, &blank).await;
        let launched = launched.unwrap();
        let has_booted = !launched
            .times
            .steps
            .iter()
            .any(|step| step.name == "disks known");
        launched.machine.terminate().await.unwrap();
        has_booted
    };
    assert!(!start().await);
    let snapshots = node.snapshots();
    let mut booted = snapshots
        .iter()
        .filter(|snapshot| snapshot.record.purpose == Purpose::Booted);
    let state = node
        .layout()
        .snapshot(booted.next().unwrap().id)
        .join("state");
    let mut bytes = fs::read(&state).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::remove_file(&state).unwrap();
    fs::write(&state, bytes).unwrap();
    assert!(start().await, "the template is of no use");
    assert!(!start().await, "there is a new one");
    node.sweep_booted(&[]).await.unwrap();
}
