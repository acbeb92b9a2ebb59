use std::collections::VecDeque;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use super::*;
use crate::virtio::MmioDevice;
use crate::virtio::driver::{Buffer, Driver};
use crate::virtio::vsock::packet::{
    HEADER_LEN, HOST_CID, Header, Op, Ports, SHUTDOWN_BOTH, SHUTDOWN_SEND, TYPE_STREAM,
};

const CID: u64 = 3;
const EVENT_IDX: u64 = 1 << 29;
/// What Linux offers: 4 KiB for header and data.
const RX_LEN: usize = 4096;

/// A guest kernel's vsock transport, much simplified.
struct Guest {
    driver: Driver<Vsock>,
    dir: tempfile::TempDir,
    rx: VecDeque<(u16, Buffer)>,
    window: u32,
}

impl Guest {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let vsock = Self::device(&dir, 64);
        let mut guest = Self {
            driver: Driver::started(vsock, EVENT_IDX),
            dir,
            rx: VecDeque::new(),
            window: 1 << 20,
        };
        guest.give_buffers(64);
        guest
    }

    fn device(dir: &tempfile::TempDir, max_streams: usize) -> Vsock {
        let socket = dir.path().join("v.sock");
        Vsock::bind(VsockConfig {
            guest_cid: CID,
            socket,
            max_streams,
        })
        .unwrap()
    }

    fn give_buffers(&mut self, count: usize) {
        for _ in 0..count {
            let buffer = self.driver.writable(RX_LEN);
            self.give(buffer);
        }
        self.driver.kick(RX);
    }

    fn give(&mut self, buffer: Buffer) {
        let head = self.driver.offer(RX, &[buffer]);
        self.rx.push_back((head, buffer));
    }

    fn try_receive(&mut self) -> Option<(Header, Vec<u8>)> {
        self.driver.pump();
        let (head, len) = self.driver.used(RX)?;
        let (expected, buffer) = self.rx.pop_front().unwrap();
        assert_eq!(head, expected);
        let bytes = self.driver.bytes(Buffer { len, ..buffer });
        let header = Header::decode(bytes[..HEADER_LEN].try_into().unwrap());
        assert_eq!(
            (header.src_cid, header.dst_cid, header.kind),
            (HOST_CID, CID, TYPE_STREAM)
        );
        assert_eq!(bytes.len() - HEADER_LEN, header.len as usize);
        self.give(buffer);
        self.driver.kick(RX);
        Some((header, bytes[HEADER_LEN..].to_vec()))
    }

    fn receive(&mut self) -> (Header, Vec<u8>) {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(packet) = self.try_receive() {
                return packet;
            }
            assert!(Instant::now() < deadline, "no packet came");
            std::thread::yield_now();
        }
    }

    fn expect(&mut self, op: Op) -> Header {
        let (header, _) = self.receive();
        assert_eq!(header.op, Some(op), "{header:?}");
        header
    }

    fn header(&self, ports: Ports, op: Op) -> Header {
        Header {
            src_cid: CID,
            dst_cid: HOST_CID,
            src_port: ports.guest,
            dst_port: ports.host,
            buf_alloc: self.window,
            ..Header::to_guest(0, ports, op)
        }
    }

    fn send_raw(&mut self, header: &Header, payload: &[u8]) {
        let mut chain = vec![self.driver.readable(&header.encode())];
        if !payload.is_empty() {
            chain.push(self.driver.readable(payload));
        }
        self.driver.request(TX, &chain);
    }

    fn send(&mut self, ports: Ports, op: Op) {
        let header = self.header(ports, op);
        self.send_raw(&header, &[]);
    }

    fn send_data(&mut self, ports: Ports, data: &[u8]) {
        let header = Header {
            len: data.len() as u32,
            ..self.header(ports, Op::Data)
        };
        self.send_raw(&header, data);
    }

    fn shutdown(&mut self, ports: Ports, flags: u32) {
        let header = Header {
            flags,
            ..self.header(ports, Op::Shutdown)
        };
        self.send_raw(&header, &[]);
    }

    fn dial(&self, line: &str) -> UnixStream {
        let mut client = UnixStream::connect(self.dir.path().join("v.sock")).unwrap();
        client
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        client.write_all(line.as_bytes()).unwrap();
        client
    }

    /// A stream that the host opened to guest port 1024.
    fn host_stream(&mut self) -> (UnixStream, Ports) {
        let mut client = self.dial("CONNECT 1024\n");
        let request = self.expect(Op::Request);
        let ports = Ports {
            guest: request.dst_port,
            host: request.src_port,
        };
        assert_eq!(ports.guest, 1024);
        self.send(ports, Op::Response);
        let expected = format!("OK {}\n", ports.host);
        let mut line = vec![0; expected.len()];
        client.read_exact(&mut line).unwrap();
        assert_eq!(line, expected.as_bytes());
        (client, ports)
    }

    fn listen(&self, port: u32) -> UnixListener {
        UnixListener::bind(self.dir.path().join(format!("v.sock_{port}"))).unwrap()
    }

    /// A stream that the guest opened to host port 5000.
    fn guest_stream(&mut self, guest_port: u32) -> (UnixStream, Ports) {
        let path = self.dir.path().join("v.sock_5000");
        let _ = std::fs::remove_file(&path);
        let listener = self.listen(5000);
        let ports = Ports {
            guest: guest_port,
            host: 5000,
        };
        self.send(ports, Op::Request);
        self.expect(Op::Response);
        let (client, _) = listener.accept().unwrap();
        client
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        (client, ports)
    }

    fn streams(&self) -> usize {
        self.driver.transport.with_device(|vsock| vsock.streams())
    }
}

fn pattern(len: usize, seed: usize) -> Vec<u8> {
    (0..len)
        .map(|at| (at * 31 + at / 251 + seed) as u8)
        .collect()
}

#[test]
fn data_goes_both_ways_whoever_opened() {
    let mut guest = Guest::new();
    for from_host in [true, false] {
        let (mut client, ports) = if from_host {
            guest.host_stream()
        } else {
            guest.guest_stream(700)
        };
        client.write_all(b"to the guest").unwrap();
        let (header, data) = guest.receive();
        assert_eq!(
            (header.op, data.as_slice()),
            (Some(Op::Data), &b"to the guest"[..])
        );
        guest.send_data(ports, b"to the host");
        let mut answer = [0; 11];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"to the host");
        guest.shutdown(ports, SHUTDOWN_BOTH);
        guest.expect(Op::Reset);
    }
}

#[test]
fn what_follows_the_connect_line_is_data() {
    let mut guest = Guest::new();
    let mut client = guest.dial("CONNECT 9\nfirst words");
    let request = guest.expect(Op::Request);
    let ports = Ports {
        guest: 9,
        host: request.src_port,
    };
    guest.send(ports, Op::Response);
    assert_eq!(guest.receive().1, b"first words");
    client.write_all(b".").unwrap();
    assert_eq!(guest.receive().1, b".");
}

#[test]
fn bad_greetings_are_closed() {
    let guest = Guest::new();
    for line in [
        "CONNECT x\n",
        "HELLO 1\n",
        "CONNECT 99999999999\n",
        &"C".repeat(40),
    ] {
        let mut client = guest.dial(line);
        guest.driver.pump();
        assert_eq!(client.read(&mut [0; 8]).unwrap_or(0), 0, "{line}");
    }
    let partial = guest.dial("CONNECT 10");
    guest.driver.pump();
    assert_eq!(guest.streams(), 1);
    drop(partial);
    guest.driver.pump();
    assert_eq!(guest.streams(), 0);
}

#[test]
fn refused_connections_end_at_once() {
    let mut guest = Guest::new();
    // By the guest.
    let mut client = guest.dial("CONNECT 77\n");
    let request = guest.expect(Op::Request);
    guest.send(
        Ports {
            guest: 77,
            host: request.src_port,
        },
        Op::Reset,
    );
    assert_eq!(client.read(&mut [0; 8]).unwrap(), 0);
    // By the host: nobody listens.
    guest.send(
        Ports {
            guest: 1,
            host: 4242,
        },
        Op::Request,
    );
    guest.expect(Op::Reset);
    // By the client, before the guest answered.
    let client = guest.dial("CONNECT 77\n");
    guest.expect(Op::Request);
    drop(client);
    guest.expect(Op::Reset);
    assert_eq!(guest.streams(), 0);
}

#[test]
fn each_side_may_end_first() {
    let mut guest = Guest::new();

    // The host stops writing, goes on reading, then is gone.
    let (mut client, ports) = guest.host_stream();
    client.write_all(b"last").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(guest.receive().1, b"last");
    assert_eq!(guest.expect(Op::Shutdown).flags, SHUTDOWN_SEND);
    guest.send_data(ports, b"still here");
    let mut answer = [0; 10];
    client.read_exact(&mut answer).unwrap();
    drop(client);
    assert_eq!(guest.expect(Op::Shutdown).flags, SHUTDOWN_BOTH);
    guest.send(ports, Op::Reset);

    // The guest stops writing, then closes.
    let (mut client, ports) = guest.host_stream();
    guest.send_data(ports, b"bye");
    guest.shutdown(ports, SHUTDOWN_SEND);
    let mut all = Vec::new();
    client.read_to_end(&mut all).unwrap();
    assert_eq!(all, b"bye");
    client.write_all(b"answer").unwrap();
    assert_eq!(guest.receive().1, b"answer");
    guest.shutdown(ports, SHUTDOWN_BOTH);
    guest.expect(Op::Reset);
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);

    // The host goes away with both directions open.
    let (client, ports) = guest.host_stream();
    drop(client);
    assert_eq!(guest.expect(Op::Shutdown).flags, SHUTDOWN_BOTH);
    guest.send_data(ports, b"nobody hears");
    guest.expect(Op::Reset);
    assert_eq!(guest.streams(), 0);
}

#[test]
fn ten_mebibytes_each_way_are_exact() {
    const LEN: usize = 10 << 20;
    let mut guest = Guest::new();
    let (client, ports) = guest.host_stream();
    let mut writer = client.try_clone().unwrap();
    let sender = std::thread::spawn(move || writer.write_all(&pattern(LEN, 1)).unwrap());
    let mut reader = client;
    let receiver = std::thread::spawn(move || {
        let mut all = vec![0; LEN];
        reader.read_exact(&mut all).unwrap();
        assert!(all == pattern(LEN, 2));
        reader
    });
    let outgoing = pattern(LEN, 2);
    let (mut sent, mut host_window, mut host_forwarded) = (0usize, 64u32 << 10, 0u32);
    let mut received = Vec::new();
    while received.len() < LEN || sent < LEN {
        let room = host_window - (sent as u32).wrapping_sub(host_forwarded);
        let chunk = (LEN - sent).min(room as usize).min(60_000);
        if chunk > 0 {
            let mut header = guest.header(ports, Op::Data);
            header.len = chunk as u32;
            header.fwd_cnt = received.len() as u32;
            guest.send_raw(&header, &outgoing[sent..sent + chunk]);
            sent += chunk;
        }
        while let Some((header, data)) = guest.try_receive() {
            (host_window, host_forwarded) = (header.buf_alloc, header.fwd_cnt);
            received.extend(data);
            if header.op == Some(Op::CreditRequest) || sent == LEN {
                let mut update = guest.header(ports, Op::CreditUpdate);
                update.fwd_cnt = received.len() as u32;
                guest.send_raw(&update, &[]);
            }
        }
    }
    assert!(received == pattern(LEN, 1));
    sender.join().unwrap();
    // What the client has not read yet is still on its way through the device.
    while !receiver.is_finished() {
        guest.driver.pump();
        std::thread::yield_now();
    }
    drop(receiver.join().unwrap());
}

#[test]
fn a_guest_without_credit_gets_no_data() {
    let mut guest = Guest::new();
    guest.window = 1000;
    let (mut client, ports) = guest.host_stream();
    client.write_all(&[7; 5000]).unwrap();
    let (header, data) = guest.receive();
    assert_eq!((header.op, data.len()), (Some(Op::Data), 1000));
    guest.expect(Op::CreditRequest);
    assert!(guest.try_receive().is_none());
    let update = Header {
        fwd_cnt: 600,
        ..guest.header(ports, Op::CreditUpdate)
    };
    guest.send_raw(&update, &[]);
    assert_eq!(guest.receive().1.len(), 600);
}

#[test]
fn a_guest_beyond_its_credit_is_reset() {
    let mut guest = Guest::new();
    let (_client, ports) = guest.host_stream();
    let data = vec![1; 64 << 10];
    let mut sent = 0u64;
    loop {
        guest.send_data(ports, &data);
        sent += data.len() as u64;
        match guest.try_receive() {
            None => {}
            Some((header, _)) if header.op == Some(Op::CreditUpdate) => {}
            Some((header, _)) => {
                assert_eq!(header.op, Some(Op::Reset));
                break;
            }
        }
        assert!(sent < 4 << 20, "the host buffers without end");
    }
    assert_eq!(guest.streams(), 0);
}

#[test]
fn a_slow_host_reader_loses_nothing() {
    let mut guest = Guest::new();
    let (mut client, ports) = guest.guest_stream(9);
    let data = pattern(400 << 10, 3);
    for chunk in data.chunks(16 << 10) {
        guest.send_data(ports, chunk);
    }
    guest.shutdown(ports, SHUTDOWN_BOTH);
    let reader = std::thread::spawn(move || {
        let mut all = Vec::new();
        client.read_to_end(&mut all).unwrap();
        all
    });
    while guest.receive().0.op != Some(Op::Reset) {}
    assert!(reader.join().unwrap() == data);
}

#[test]
fn malformed_packets_are_answered_or_dropped() {
    let mut guest = Guest::new();
    let ports = Ports { guest: 5, host: 6 };
    let good = guest.header(ports, Op::Data);
    let silent = [
        Header { src_cid: 4, ..good },
        Header { dst_cid: 1, ..good },
        Header {
            op: Some(Op::Reset),
            ..good
        },
    ];
    for header in silent {
        guest.send_raw(&header, &[]);
        assert!(guest.try_receive().is_none());
    }
    let answered = [
        Header { kind: 7, ..good },
        Header { op: None, ..good },
        Header { len: 1000, ..good },
        Header {
            len: u32::MAX,
            op: Some(Op::Request),
            ..good
        },
        good,
    ];
    for header in answered {
        guest.send_raw(&header, &[1; 10]);
        let reset = guest.expect(Op::Reset);
        assert_eq!((reset.src_port, reset.dst_port), (6, 5));
    }
    let short = guest.driver.readable(&[1; 20]);
    guest.driver.request(TX, &[short]);
    assert!(guest.try_receive().is_none());
    assert_eq!(guest.driver.faults.take().0, 0);
}

#[test]
fn a_receive_buffer_without_room_is_a_fault() {
    let mut guest = Guest::new();
    let dir = &guest.dir;
    std::fs::remove_file(dir.path().join("v.sock")).unwrap();
    let mut driver = Driver::started(Guest::device(dir, 4), 0);
    let tiny = driver.writable(44);
    driver.offer(RX, &[tiny]);
    let client = guest.dial("CONNECT 1\n");
    let fault = driver.fault();
    assert!(matches!(fault.cause, FaultCause::Request(_)));
    drop(client);
    guest.driver.reset();
    drop(driver);
}

#[test]
fn streams_are_limited_and_lingering_ones_make_room() {
    let mut guest = Guest::new();
    let mut open: Vec<_> = (0..64).map(|_| guest.host_stream()).collect();
    let mut refused = guest.dial("CONNECT 1\n");
    guest.driver.pump();
    assert_eq!(refused.read(&mut [0; 1]).unwrap_or(0), 0);
    guest.send(
        Ports {
            guest: 8,
            host: 5000,
        },
        Op::Request,
    );
    guest.expect(Op::Reset);
    // One ends, but the guest never acknowledges it.
    open.pop();
    guest.expect(Op::Shutdown);
    assert_eq!(guest.streams(), 64);
    open.push(guest.host_stream());
    assert_eq!(guest.streams(), 64);
}

#[test]
fn a_flood_without_receive_buffers_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let mut driver = Driver::started(Guest::device(&dir, 8), EVENT_IDX);
    let ports = Ports { guest: 1, host: 2 };
    let header = Header {
        src_cid: CID,
        dst_cid: HOST_CID,
        ..Header::to_guest(0, ports, Op::Data)
    };
    let packet = driver.readable(&header.encode());
    let flood = |driver: &mut Driver<Vsock>, mut in_flight: usize| {
        let mut taken = 0;
        for _ in 0..8 {
            while in_flight < 256 {
                driver.offer(TX, &[packet]);
                in_flight += 1;
            }
            driver.kick(TX);
            driver.pump();
            while driver.used(TX).is_some() {
                in_flight -= 1;
                taken += 1;
            }
        }
        (taken, in_flight)
    };
    // Without receive buffers, a bounded number of packets is taken.
    let (taken, in_flight) = flood(&mut driver, 0);
    assert_eq!((taken, in_flight), (256, 256));
    // Each answer that the guest takes lets one more through.
    for _ in 0..100 {
        let buffer = driver.writable(RX_LEN);
        driver.offer(RX, &[buffer]);
    }
    driver.kick(RX);
    let (taken, _) = flood(&mut driver, in_flight);
    assert_eq!(taken, 100);
    assert_eq!(driver.faults.take().0, 0);
}

#[test]
fn a_fork_keeps_streams_and_a_move_drops_them() {
    let mut guest = Guest::new();
    let (mut client, ports) = guest.host_stream();
    guest.driver.transport.pause();
    client.write_all(b"while paused").unwrap();
    guest.driver.transport.resume();
    assert_eq!(guest.receive().1, b"while paused");
    guest.send_data(ports, b"on");
    client.read_exact(&mut [0; 2]).unwrap();

    // The copy: a new process with a new socket, over the same memory.
    let event = guest.driver.writable(4);
    guest.driver.offer(EVENT, &[event]);
    let elsewhere = tempfile::tempdir().unwrap();
    let Guest {
        driver,
        dir,
        rx,
        window,
    } = guest;
    let driver = driver.moved_to(Guest::device(&elsewhere, 64));
    drop(dir);
    assert_eq!(client.read(&mut [0; 1]).unwrap_or(0), 0);
    let mut guest = Guest {
        driver,
        dir: elsewhere,
        rx,
        window,
    };
    let _early = guest.dial("CONNECT 1024\n");
    guest.driver.wait_for(|driver| driver.used(EVENT));
    assert_eq!(
        guest.driver.bytes(event),
        EVENT_TRANSPORT_RESET.to_le_bytes()
    );
    // The request waits until the guest has dealt with the reset.
    assert!(guest.try_receive().is_none());
    guest.driver.offer(EVENT, &[event]);
    guest.driver.kick(EVENT);
    guest.expect(Op::Request);
    // Packets of the old streams get a reset.
    guest.send_data(ports, b"old");
    guest.expect(Op::Reset);
}

#[test]
fn a_guest_that_ignores_the_reset_gets_streams_after_a_while() {
    for has_event_buffer in [true, false] {
        let guest = Guest::new();
        let elsewhere = tempfile::tempdir().unwrap();
        let Guest {
            mut driver,
            rx,
            window,
            ..
        } = guest;
        if has_event_buffer {
            let event = driver.writable(4);
            driver.offer(EVENT, &[event]);
        }
        let mut device = Guest::device(&elsewhere, 64);
        device.reset_patience = Duration::from_millis(50);
        let driver = driver.moved_to(device);
        let mut guest = Guest {
            driver,
            dir: elsewhere,
            rx,
            window,
        };
        let _client = guest.dial("CONNECT 1024\n");
        guest.expect(Op::Request);
    }
}

#[test]
fn a_queue_that_was_never_configured_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut driver = Driver::cold(Guest::device(&dir, 4), crate::virtio::driver::ram());
    // The driver starts the device without any ring; a host process connects.
    driver.rings.clear();
    driver.start(EVENT_IDX);
    let path = dir.path().join("v.sock");
    let mut client = UnixStream::connect(path).unwrap();
    client.write_all(b"CONNECT 1\n").unwrap();
    driver.pump();
    assert_eq!(driver.transport.with_device(|vsock| vsock.streams()), 1);
    let mut low = [0xff; 0x1000];
    vm_memory::Bytes::read_slice(&driver.ram, &mut low, vm_memory::GuestAddress(0)).unwrap();
    assert_eq!(low, [0; 0x1000]);
    assert_eq!(driver.faults.take().0, 0);
}

#[test]
fn a_driver_reset_closes_everything() {
    let mut guest = Guest::new();
    let (mut client, _) = guest.host_stream();
    guest.driver.reset();
    assert_eq!(client.read(&mut [0; 1]).unwrap_or(0), 0);
    assert_eq!(guest.streams(), 0);
    guest.rx.clear();
    guest.driver.start(0);
    guest.give_buffers(32);
    guest.host_stream();
}

#[test]
fn the_socket_goes_with_the_device() {
    let guest = Guest::new();
    let Guest { driver, dir, .. } = guest;
    assert!(dir.path().join("v.sock").exists());
    drop(driver);
    assert!(!dir.path().join("v.sock").exists());
    let reserved = VsockConfig {
        guest_cid: 2,
        socket: dir.path().join("x"),
        max_streams: 1,
    };
    assert!(matches!(
        Vsock::bind(reserved),
        Err(VsockError::ReservedCid(2))
    ));
}
