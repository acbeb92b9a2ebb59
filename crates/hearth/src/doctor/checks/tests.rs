use std::collections::BTreeMap;

use hearth_node::Damage;

use super::*;
use crate::doctor::facts::ServiceBound;

/// A host with nothing to complain of.
fn healthy() -> Facts {
    Facts {
        kvm: Finding::Works,
        is_root: true,
        qemu: None,
        has_busybox: true,
        has_mmdebstrap: true,
        runtimes: Vec::new(),
        has_mke2fs: true,
        has_nft: true,
        has_tun: true,
        connection_table: Some(1 << 20),
        has_bases: false,
        wants_network: true,
        listen: "127.0.0.1:4580".to_owned(),
        listen_error: None,
        kernel: "6.12.1-amd64".to_owned(),
        security_modules: Some("lockdown,capability,landlock,yama".to_owned()),
        mounts: "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0".to_owned(),
        meminfo: "MemTotal:       65536000 kB\nMemAvailable:   60000000 kB".to_owned(),
        swaps: "Filename Type Size Used Priority".to_owned(),
        free_bytes: Some(100 << 30),
        data: "/var/lib/hearth".to_owned(),
        limitable_device: Ok("254:0".to_owned()),
        wants_host_limits: true,
        controllers: Some("cpuset cpu io memory pids".to_owned()),
        handed_down: Some("cpu memory pids".to_owned()),
        can_hand_down: true,
        pressure: Some("some avg10=0.00 avg60=0.00 avg300=0.00 total=0".to_owned()),
        wants_pressure: true,
        service_bytes: 512 << 20,
        service_bound: ServiceBound::Bytes(1 << 30),
        wants_disk_limits: true,
        data_mode: Some(0o40_700),
        damaged: Ok(Vec::new()),
        open_files: 1 << 20,
        users: 0x7000_0000..=0x7000_ffff,
        passwd: "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false".to_owned(),
        subuid: "build:100000:65536".to_owned(),
        console_level: Some("4\t4\t1\t7".to_owned()),
        has_ecc: true,
        smt_active: Some("0".to_owned()),
        ksm_run: Some("0".to_owned()),
        vulnerabilities: BTreeMap::from([("meltdown".to_owned(), "Not affected".to_owned())]),
    }
}

/// What is not good, after one thing was changed.
fn complaints(change: impl FnOnce(&mut Facts)) -> Vec<(&'static str, Verdict)> {
    let mut facts = healthy();
    change(&mut facts);
    let checks = ALL.iter().map(|check| check(&facts));
    let bad = checks.filter(|check| check.verdict != Verdict::Good);
    bad.inspect(|check| assert!(check.mend.is_some(), "{check:?}"))
        .map(|check| (check.name, check.verdict))
        .collect()
}

#[test]
fn a_healthy_host_has_no_complaints() {
    assert_eq!(complaints(|_| ()), []);
}

#[test]
fn groups_that_keep_nothing_are_told() {
    let fails = [("limits", Verdict::Fails)];
    assert_eq!(complaints(|facts| facts.controllers = None), fails);
    let without_memory = |facts: &mut Facts| facts.controllers = Some("cpu pids".to_owned());
    assert_eq!(complaints(without_memory), fails);
    // The first start hands them down, where it may.
    assert_eq!(complaints(|facts| facts.handed_down = None), []);
    let contained = |facts: &mut Facts| {
        facts.handed_down = Some("cpu pids".to_owned());
        facts.can_hand_down = false;
    };
    assert_eq!(complaints(contained), fails);
    let unlimited = |facts: &mut Facts| {
        facts.controllers = None;
        facts.wants_host_limits = false;
    };
    assert_eq!(complaints(unlimited), []);
    let unmeasured = |facts: &mut Facts| facts.pressure = None;
    assert_eq!(complaints(unmeasured), [("pressure", Verdict::Advice)]);
    let unwatched = |facts: &mut Facts| {
        facts.pressure = None;
        facts.wants_pressure = false;
    };
    assert_eq!(complaints(unwatched), []);
}

#[test]
fn a_service_without_a_bound_is_told() {
    let bound = |bound| complaints(move |facts: &mut Facts| facts.service_bound = bound);
    assert_eq!(bound(ServiceBound::NotRunning), []);
    assert_eq!(bound(ServiceBound::Bytes(1 << 20)), []);
    let advice = [("service memory", Verdict::Advice)];
    assert_eq!(bound(ServiceBound::Nothing), advice);
    assert_eq!(bound(ServiceBound::Bytes((1 << 30) + 1)), advice);
    let unlimited = |facts: &mut Facts| {
        facts.service_bound = ServiceBound::Nothing;
        facts.wants_host_limits = false;
    };
    assert_eq!(complaints(unlimited), []);
}

#[test]
fn what_is_needed_fails() {
    for (change, name) in [
        ((|facts| facts.is_root = false) as fn(&mut Facts), "root"),
        (|facts| facts.kvm = Finding::NoDevice, "kvm"),
        (|facts| facts.has_busybox = false, "busybox"),
        (|facts| facts.has_mke2fs = false, "mke2fs"),
        (|facts| facts.has_mmdebstrap = false, "base images"),
        (|facts| facts.has_nft = false, "nftables"),
        (|facts| facts.has_tun = false, "tap devices"),
        (
            |facts| facts.listen_error = Some("in use".into()),
            "api port",
        ),
        (
            |facts| facts.meminfo = "MemAvailable: 1000 kB".into(),
            "memory",
        ),
        (|facts| facts.meminfo.clear(), "memory"),
        (|facts| facts.free_bytes = Some(1 << 30), "disk"),
    ] {
        assert_eq!(complaints(change), [(name, Verdict::Fails)], "{name}");
    }
}

#[test]
fn what_strangers_could_use_is_advice() {
    for (change, name) in [
        (
            (|facts| facts.smt_active = Some("1".into())) as fn(&mut Facts),
            "smt",
        ),
        (|facts| facts.smt_active = None, "smt"),
        (|facts| facts.ksm_run = Some("1".into()), "ksm"),
        (
            |facts| facts.swaps.push_str("\n/dev/sda2 partition 1 0 -2"),
            "swap",
        ),
        (
            |facts| facts.security_modules = Some("yama".into()),
            "landlock",
        ),
        (|facts| facts.security_modules = None, "landlock"),
        (
            |facts| facts.mounts = "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0".into(),
            "cgroups",
        ),
        (
            |facts| facts.limitable_device = Err("no controller".into()),
            "disk limits",
        ),
        (|facts| facts.data_mode = Some(0o40_755), "data"),
        (|facts| facts.users = 65_000..=66_000, "users"),
        (|facts| facts.users = 165_535..=200_000, "users"),
        (
            |facts| facts.console_level = Some("7 4 1 7".into()),
            "console",
        ),
        (|facts| facts.console_level = None, "console"),
        (|facts| facts.has_ecc = false, "ecc"),
        (|facts| facts.kernel = "6.1.0".into(), "kernel"),
        (|facts| facts.kernel.clear(), "kernel"),
        (
            |facts| facts.damaged = Err("denied".into()),
            "damaged files",
        ),
        // Finding M7: one guest after the other fills it.
        (
            |facts| facts.connection_table = Some(262_144),
            "connections",
        ),
        (|facts| facts.open_files = 1024, "open files"),
        (|facts| facts.free_bytes = Some(10 << 30), "disk"),
        (
            |facts| facts.meminfo = "MemAvailable: 4000000 kB".into(),
            "memory",
        ),
        (
            |facts| {
                facts
                    .vulnerabilities
                    .insert("mds".into(), "Vulnerable; SMT".into());
            },
            "mitigations",
        ),
    ] {
        assert_eq!(complaints(change), [(name, Verdict::Advice)], "{name}");
    }
}

#[test]
fn users_that_begin_where_others_end_are_free() {
    assert_eq!(complaints(|facts| facts.users = 165_536..=200_000), []);
    assert_eq!(complaints(|facts| facts.users = 70_000..=99_999), []);
}

#[test]
fn the_emulated_host_needs_less_of_this_one() {
    let emulated = |facts: &mut Facts| {
        facts.kvm = Finding::Silent;
        facts.qemu = Some(QemuVersion::FAST);
        facts.has_tun = false;
        facts.limitable_device = Err("no controller".into());
    };
    assert_eq!(complaints(emulated), [("kvm", Verdict::Advice)]);
    let mut facts = healthy();
    emulated(&mut facts);
    let found = kvm(&facts).found;
    assert!(found.ends_with("QEMU 10.0"), "{found}");
    facts.qemu = Some(QemuVersion { major: 7, minor: 2 });
    let found = kvm(&facts).found;
    assert!(found.contains("QEMU 7.2, which is slower"), "{found}");
    let unlimited = |facts: &mut Facts| {
        facts.wants_disk_limits = false;
        facts.limitable_device = Err("no controller".into());
    };
    assert_eq!(complaints(unlimited), []);
    let closed = |facts: &mut Facts| {
        facts.wants_network = false;
        facts.has_nft = false;
        facts.has_tun = false;
    };
    assert_eq!(complaints(closed), []);
    let unknown = |facts: &mut Facts| facts.connection_table = None;
    assert_eq!(complaints(unknown), []);
    let prepared = |facts: &mut Facts| {
        facts.has_bases = true;
        facts.has_mmdebstrap = false;
    };
    assert_eq!(complaints(prepared), []);
}

#[test]
fn everything_damaged_is_told_with_what_helps() {
    let one = |name: &str| {
        let path = format!("/data/damaged/instance-{name}").into();
        let reason = r#"{"instance":"NAME","reason":"machine.json is corrupt","found_at":1}"#;
        let reason = reason.replace("NAME", name);
        Damaged::new(
            Damage::told(path, Some(reason.as_bytes())),
            "/data".as_ref(),
        )
    };
    let mut facts = healthy();
    facts.damaged = Ok(vec![one("first"), one("second")]);
    let check = damaged(&facts);
    assert_eq!(check.verdict, Verdict::Advice);
    for name in ["first", "second"] {
        let path = format!("/data/damaged/instance-{name}");
        assert!(check.found.contains(&path), "{}", check.found);
        assert!(
            check.found.contains(&format!("({name})")),
            "{}",
            check.found
        );
        assert!(check.mend.as_ref().unwrap().contains(&path), "{check:?}");
    }
    assert!(check.found.contains("machine.json is corrupt"));
}
