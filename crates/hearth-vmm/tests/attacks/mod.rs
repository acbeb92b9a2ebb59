//! Guests that attack: each of them is ended with a reason, or kept within bounds while the VMM answers.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use hearth_wire::vmm::{DiskImage, DiskSpec, EndReason, NetSpec, Phase, VmmExit, VsockSpec};

use crate::boot_spec;
use crate::support::{Vmm, guest, wait_serial};

/// What a VMM may have resident beside its guest's RAM, whatever the guest does.
const BESIDE_GUEST_KIB: u64 = 32 << 10;

/// How long a flood goes on.
const FLOOD: Duration = Duration::from_secs(2);

#[test]
fn a_serial_flood_stays_within_its_log_and_the_vmm_answers() {
    let root = tempfile::tempdir().unwrap();
    let mut spec = boot_spec(root.path(), "flood", guest::serial_flood());
    spec.devices.serial_log.as_mut().unwrap().limit_bytes = 64 << 10;
    let mut vmm = Vmm::spawn();
    vmm.boot(spec);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(2) {
        assert_eq!(vmm.status().phase, Phase::Running);
        let log = fs::metadata(root.path().join("serial")).map_or(0, |log| log.len());
        assert!(log <= 64 << 10, "{log}");
    }
    vmm.terminate();
}

#[test]
fn a_hostile_guest_is_ended_with_a_reason_within_its_memory() {
    let root = tempfile::tempdir().unwrap();
    let image = root.path().join("disk");
    fs::write(&image, vec![0; 1 << 20]).unwrap();
    let mut spec = boot_spec(root.path(), "hostile", guest::hostile());
    spec.devices.disks = vec![
        DiskSpec {
            serial: "base".into(),
            image: DiskImage::ReadOnly {
                path: image.clone(),
            },
            rate_limit: None,
            is_replaced: false,
        },
        DiskSpec {
            serial: "scratch".into(),
            image: DiskImage::Overlay {
                path: root.path().join("overlay"),
                backing: vec![image.clone()],
            },
            rate_limit: None,
            is_replaced: false,
        },
    ];
    spec.devices.vsock = Some(VsockSpec {
        path: root.path().join("vsock"),
    });
    spec.devices.balloon = true;
    let tap = tap();
    spec.devices.nets = vec![NetSpec {
        tap_fd: tap.as_raw_fd(),
        mac: [2, 0, 0, 0, 0, 1],
        rate_limit: None,
    }];
    let ram_kib = u64::from(spec.memory_mib) << 10;
    let mut vmm = Vmm::spawn_with_tap(&tap);
    vmm.boot(spec);
    let (reason, status, peak_kib) = vmm.wait_end_with_peak();
    assert!(
        matches!(reason, EndReason::DeviceMisuse { .. }),
        "{reason:?}"
    );
    assert_eq!(status.code(), Some(VmmExit::DeviceFaults as i32));
    assert!(
        peak_kib < ram_kib + BESIDE_GUEST_KIB,
        "{peak_kib} KiB at most, {ram_kib} of them guest RAM"
    );
    assert_eq!(
        fs::read(&image).unwrap(),
        vec![0; 1 << 20],
        "the read-only disk is as it was"
    );
}

/// Notifications cost the processor time of the guest's own VMM and nothing else.
#[test]
fn a_doorbell_flood_costs_no_memory_and_the_vmm_answers() {
    let root = tempfile::tempdir().unwrap();
    let image = root.path().join("disk");
    fs::write(&image, vec![0; 1 << 20]).unwrap();
    let mut spec = boot_spec(root.path(), "doorbell", guest::doorbell_flood());
    spec.devices.disks = vec![DiskSpec {
        serial: "base".into(),
        image: DiskImage::ReadOnly { path: image },
        rate_limit: None,
        is_replaced: false,
    }];
    spec.devices.vsock = Some(VsockSpec {
        path: root.path().join("vsock"),
    });
    spec.devices.balloon = true;
    let mut vmm = Vmm::spawn();
    vmm.boot(spec);
    // It is past its preparations.
    wait_serial(root.path(), "\n");
    // Guest RAM is left out: the kernel may make a huge page of what is resident of it at any moment.
    let before_kib = vmm.anonymous_beside_guest_kib();
    let start = Instant::now();
    while start.elapsed() < FLOOD {
        let status = vmm.status();
        assert_eq!((status.phase, status.device_faults), (Phase::Running, 0));
    }
    let after_kib = vmm.anonymous_beside_guest_kib();
    assert!(
        after_kib < before_kib + 1024,
        "{after_kib} KiB after {before_kib}"
    );
    vmm.terminate();
}

/// A guest that opens streams as fast as it can, takes no answer, and ends none.
#[test]
fn a_vsock_flood_stays_within_its_streams_and_its_memory() {
    const STREAMS_MAX: u64 = 1024;
    let root = tempfile::tempdir().unwrap();
    let mut spec = boot_spec(root.path(), "vsock-flood", guest::vsock_flood());
    spec.devices.vsock = Some(VsockSpec {
        path: root.path().join("vsock"),
    });
    let listener = UnixListener::bind(root.path().join("vsock_1234")).unwrap();
    let ram_kib = u64::from(spec.memory_mib) << 10;
    let mut vmm = Vmm::spawn();
    vmm.boot(spec);
    // What the guest opens arrives here; it is held open as a slow program would.
    let mut held = vec![listener.accept().unwrap()];
    listener.set_nonblocking(true).unwrap();
    let start = Instant::now();
    while start.elapsed() < FLOOD {
        held.extend(listener.accept());
        let status = vmm.status();
        assert_eq!(status.phase, Phase::Running);
        assert!(status.vsock_streams <= STREAMS_MAX, "{status:?}");
    }
    assert!(vmm.status().vsock_streams > 0);
    assert!(vmm.peak_kib() < ram_kib + BESIDE_GUEST_KIB);
    drop(held);
    vmm.terminate();
}

/// A network card's host end, without an address.
fn tap() -> OwnedFd {
    let file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/net/tun")
        .unwrap();
    // SAFETY: an all-zero ifreq is an empty name, for which the kernel finds one, and no flags.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
    request.ifr_ifru.ifru_flags = flags as i16;
    // SAFETY: TUNSETIFF reads and writes one ifreq, which is a live local.
    let made = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    assert_eq!(made, 0, "{}", std::io::Error::last_os_error());
    file.into()
}
