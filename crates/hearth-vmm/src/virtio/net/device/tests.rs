use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use super::*;
use crate::virtio::MmioDevice;
use crate::virtio::driver::{Buffer, Driver};
use crate::virtio::limiter::BucketLimit;

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// A packet socket pair has what the card needs of a TAP: one frame in each call.
fn pair() -> (Tap, OwnedFd) {
    let (ours, theirs) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::NONBLOCK,
        None,
    )
    .unwrap();
    (Tap::configured(ours).unwrap(), theirs)
}

fn config() -> NetConfig {
    NetConfig {
        mac: MAC,
        mtu: 1500,
        rx_limit: RateLimit::default(),
        tx_limit: RateLimit::default(),
    }
}

fn card() -> (Driver<Net>, OwnedFd) {
    let (tap, wire) = pair();
    (Driver::started(Net::new(config(), tap), 0), wire)
}

fn put(wire: &OwnedFd, frame: &[u8]) {
    let message = [&[0; HEADER_LEN], frame].concat();
    rustix::net::send(wire, &message, SendFlags::empty()).unwrap();
}

fn taken(wire: &OwnedFd) -> Option<Vec<u8>> {
    let mut bytes = vec![0; 70_000];
    let (_, count) = rustix::net::recv(wire, &mut bytes[..], RecvFlags::empty()).ok()?;
    bytes.truncate(count);
    Some(bytes)
}

fn send(driver: &mut Driver<Net>, header: [u8; HEADER_LEN], frame: &[u8]) {
    let header = driver.readable(&header);
    let frame = driver.readable(frame);
    driver.request(TX, &[header, frame]);
}

#[test]
fn frames_leave_as_they_are() {
    let (mut driver, wire) = card();
    send(&mut driver, [0; HEADER_LEN], &[7; 60]);
    assert_eq!(
        taken(&wire).unwrap(),
        [&[0; HEADER_LEN][..], &[7; 60]].concat()
    );
    // Too short for a frame, and a chain that is not even a header: dropped.
    send(&mut driver, [0; HEADER_LEN], &[7; 10]);
    let stub = driver.readable(&[1; 5]);
    driver.request(TX, &[stub]);
    assert_eq!(taken(&wire), None);
}

#[test]
fn header_fields_pass_only_with_their_feature() {
    for (features, expected) in [(0, 0), (OFFLOADS, 1)] {
        let (tap, wire) = pair();
        let mut driver = Driver::started(Net::new(config(), tap), features);
        let mut header = [0; HEADER_LEN];
        header[0] = 1;
        send(&mut driver, header, &[7; 60]);
        assert_eq!(taken(&wire).unwrap()[0], expected);
        // UDP fragmentation was never offered: the frame is dropped, and the card goes on.
        header[1] = net::VIRTIO_NET_HDR_GSO_UDP as u8;
        send(&mut driver, header, &[7; 60]);
        assert_eq!(taken(&wire), None);
        send(&mut driver, [0; HEADER_LEN], &[8; 60]);
        assert_eq!(taken(&wire).unwrap()[HEADER_LEN], 8);
    }
}

#[test]
fn frames_arrive_in_the_guests_buffers() {
    let (mut driver, wire) = card();
    // First the frame, then the buffer; and the other way round.
    put(&wire, &[1; 100]);
    driver.pump();
    let early = driver.writable(2048);
    assert_eq!(driver.request(RX, &[early]), 112);
    assert_eq!(
        driver.bytes(early)[10..112],
        [&[1, 0][..], &[1; 100]].concat()
    );
    let late = driver.writable(2048);
    driver.offer(RX, &[late]);
    driver.kick(RX);
    driver.pump();
    put(&wire, &[2; 200]);
    let (_, len) = driver.wait_for(|driver| driver.used(RX));
    assert_eq!(len, 212);
    assert_eq!(driver.bytes(late)[12..212], [2; 200]);
}

#[test]
fn buffers_too_small_for_a_frame_are_a_fault() {
    let (mut driver, wire) = card();
    let small = driver.writable(1000);
    driver.offer(RX, &[small]);
    put(&wire, &[1; 100]);
    driver.kick(RX);
    assert!(matches!(driver.fault().cause, FaultCause::Request(_)));
}

#[test]
fn frames_beyond_the_limit_are_a_fault() {
    let (mut driver, _wire) = card();
    let huge = Buffer {
        address: 0x10_0000,
        len: 100_000,
        writable: false,
    };
    driver.offer(TX, &[huge]);
    driver.kick(TX);
    assert!(matches!(driver.fault().cause, FaultCause::Queue(_)));
}

#[test]
fn limits_delay_both_directions() {
    let (tap, wire) = pair();
    let slow = RateLimit {
        operations: Some(BucketLimit {
            per_second: 100,
            burst: 1,
        }),
        bytes: None,
    };
    let config = NetConfig {
        rx_limit: slow,
        tx_limit: slow,
        ..config()
    };
    let mut driver = Driver::started(Net::new(config, tap), 0);
    let before = Instant::now();
    for _ in 0..5 {
        send(&mut driver, [0; HEADER_LEN], &[1; 60]);
        assert!(taken(&wire).is_some());
        put(&wire, &[2; 60]);
        let buffer = driver.writable(2048);
        driver.request(RX, &[buffer]);
    }
    assert!(before.elapsed() >= Duration::from_millis(30));
}

#[test]
fn frames_that_wait_during_a_pause_or_a_move_are_not_lost() {
    let (mut driver, wire) = card();
    let first = driver.writable(2048);
    driver.offer(RX, &[first]);
    driver.transport.pause();
    put(&wire, &[1; 60]);
    driver.pump();
    assert_eq!(driver.used(RX), None);
    driver.transport.resume();
    driver.wait_for(|driver| driver.used(RX));

    let second = driver.writable(2048);
    driver.offer(RX, &[second]);
    let out = driver.readable(&[0; HEADER_LEN + 60]);
    driver.offer(TX, &[out]);
    let (tap, wire) = pair();
    put(&wire, &[2; 60]);
    let mut driver = driver.moved_to(Net::new(config(), tap));
    driver.wait_for(|driver| driver.used(RX));
    driver.wait_for(|driver| driver.used(TX));
    assert!(taken(&wire).is_some());
    assert_eq!(driver.bytes(second)[12..72], [2; 60]);
}

#[test]
fn a_card_with_another_address_is_refused() {
    let (driver, _wire) = card();
    driver.transport.pause();
    let state = driver.transport.save();
    let (tap, _other) = pair();
    let other = NetConfig {
        mac: [2, 0, 0, 0, 0, 9],
        ..config()
    };
    let other = Driver::cold(Net::new(other, tap), driver.ram.clone());
    assert!(other.transport.restore(&state).is_err());
    let mut mac = [0; 8];
    driver.transport.read(0x100, &mut mac);
    assert_eq!(mac[..6], MAC);
    driver.transport.read(0x10a, &mut mac[..2]);
    assert_eq!(u16::from_le_bytes([mac[0], mac[1]]), 1500);
}

#[test]
fn what_is_no_tap_is_refused() {
    let (_, wire) = pair();
    assert!(matches!(
        Tap::new(wire),
        Err(crate::virtio::net::TapError::HeaderLen(_))
    ));
}

/// A real TAP, with an address on the host's side.
mod real {
    use std::fs::OpenOptions;
    use std::net::UdpSocket;
    use std::os::fd::AsRawFd;
    use std::process::Command;

    use super::*;

    const HOST: &str = "10.254.77.1";
    const GUEST: [u8; 4] = [10, 254, 77, 2];

    fn tap(name: &str) -> OwnedFd {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/net/tun")
            .unwrap();
        // SAFETY: an all-zero ifreq is an empty name and no flags.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
            *to = from.cast_signed();
        }
        let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
        request.ifr_ifru.ifru_flags = flags as i16;
        // SAFETY: TUNSETIFF reads and writes one ifreq, which is a live local.
        let made = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
        assert_eq!(made, 0, "{}", std::io::Error::last_os_error());
        for arguments in [
            vec!["addr", "add", "10.254.77.1/24", "dev", name],
            vec!["link", "set", name, "address", "02:00:00:00:00:99", "up"],
            vec![
                "neigh",
                "add",
                "10.254.77.2",
                "lladdr",
                "02:00:00:00:00:01",
                "dev",
                name,
            ],
        ] {
            assert!(
                Command::new("ip")
                    .args(arguments)
                    .status()
                    .unwrap()
                    .success()
            );
        }
        file.into()
    }

    /// Sum of 16-bit words, folded.
    fn sum(bytes: &[u8]) -> u16 {
        let mut sum = 0u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low));
        }
        while sum >> 16 != 0 {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum as u16
    }

    /// A UDP datagram from the guest, whose checksum is left to the host.
    fn datagram(port: u16, data: &[u8]) -> ([u8; HEADER_LEN], Vec<u8>) {
        let udp_len = (8 + data.len()) as u16;
        let mut ip = vec![0x45, 0];
        ip.extend((20 + udp_len).to_be_bytes());
        ip.extend([0, 0, 0, 0, 64, 17, 0, 0]);
        ip.extend(GUEST);
        ip.extend([10, 254, 77, 1]);
        let checksum = !sum(&ip);
        ip[10..12].copy_from_slice(&checksum.to_be_bytes());
        let pseudo = [&ip[12..20], &[0, 17], &udp_len.to_be_bytes()].concat();
        let mut frame = vec![2, 0, 0, 0, 0, 0x99];
        frame.extend(MAC);
        frame.extend([8, 0]);
        frame.extend(ip);
        frame.extend(7777u16.to_be_bytes());
        frame.extend(port.to_be_bytes());
        frame.extend(udp_len.to_be_bytes());
        frame.extend(sum(&pseudo).to_be_bytes());
        frame.extend(data);
        // VIRTIO_NET_HDR_F_NEEDS_CSUM, from byte 34, to be put 6 bytes behind it.
        let mut header = [0; HEADER_LEN];
        header[0] = 1;
        header[6] = 34;
        header[8] = 6;
        (header, frame)
    }

    #[test]
    #[ignore = "needs CAP_NET_ADMIN and the ip command"]
    fn datagrams_go_both_ways_through_a_tap() {
        let tap = Tap::new(tap("hearthtest0")).unwrap();
        let mut driver = Driver::started(Net::new(config(), tap), OFFLOADS);
        let socket = UdpSocket::bind((HOST, 0)).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        let (header, frame) = datagram(socket.local_addr().unwrap().port(), b"from the guest");
        send(&mut driver, header, &frame);
        let mut bytes = [0; 64];
        let (count, from) = socket.recv_from(&mut bytes).unwrap();
        assert_eq!(&bytes[..count], b"from the guest");
        assert_eq!(from.to_string(), "10.254.77.2:7777");

        socket.send_to(b"from the host", from).unwrap();
        for _ in 0..16 {
            let buffer = driver.writable(2048);
            let len = driver.request(RX, &[buffer]) as usize;
            let bytes = driver.bytes(buffer);
            assert_eq!(bytes[10..12], [1, 0]);
            // Others (neighbour discovery) may come first.
            if bytes[..len].ends_with(b"from the host") {
                assert_eq!(bytes[0], 0, "the checksum is complete");
                return;
            }
        }
        panic!("the datagram did not arrive");
    }
}
