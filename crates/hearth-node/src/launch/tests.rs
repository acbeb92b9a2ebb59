use super::*;
use crate::node::{DeviceLimits, NodeOptions};

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
    let devices = node(data.path(), limits)
        .devices(&name, &disks, true)
        .unwrap();
    assert_eq!(devices.disks.len(), 2);
    assert!(
        devices
            .disks
            .iter()
            .all(|disk| disk.rate_limit == limits.disk)
    );
    assert_eq!(devices.nets[0].rate_limit, limits.network);

    let devices = node(data.path(), DeviceLimits::default())
        .devices(&name, &disks, true)
        .unwrap();
    assert!(devices.disks.iter().all(|disk| disk.rate_limit.is_none()));
    assert_eq!(devices.nets[0].rate_limit, None);
}
