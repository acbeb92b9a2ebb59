//! Fuzz targets: one for the queues of each device, one for vsock packets.
//!
//! An input is a program of a hostile driver (and, for some devices, of a clumsy host): a list of
//! operations, each one byte and its arguments. Besides not panicking, every device must hold to three
//! things whatever the input: it comes to rest when nobody moves, its state can always be saved
//! and restored, and a reset always makes it usable again.
//!
//! Ordinary tests run the targets over their corpora in `fuzz/corpus`; `fuzz/` has the wrappers
//! for cargo-fuzz.

#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType};
use vm_memory::{Bytes, GuestAddress};

use super::balloon::Balloon;
use super::block::{Block, BlockConfig, DiskFormat, DiskLayer, create_overlay};
use super::device::VirtioDevice;
use super::driver::{Buffer, Driver, HIGH_START, LOW_LEN, RINGS};
use super::limiter::RateLimit;
use super::net::{Net, NetConfig, Tap};
use super::rng::Rng;
use super::transport::MmioDevice;
use super::vsock::{Vsock, VsockConfig};

/// Operations of one input: enough to reach every state, few enough for many inputs a second.
const MAX_OPERATIONS: usize = 200;

/// A named target, as `fuzz/` and the tests run it.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: &[Target] = &[
    ("virtio_balloon", balloon),
    ("virtio_block", block),
    ("virtio_net", net),
    ("virtio_rng", rng),
    ("virtio_vsock", vsock),
    ("vsock_packets", vsock_packets),
];

/// Queues of the entropy device.
pub fn rng(input: &[u8]) {
    run(input, Rng::new, |_, _| {});
}

/// Queues of the balloon.
pub fn balloon(input: &[u8]) {
    run(input, Balloon::new, |driver, input| {
        let target = input.word();
        driver
            .transport
            .with_device(|balloon| balloon.set_target_mib(target));
    });
}

/// Queue of a writable disk.
pub fn block(input: &[u8]) {
    let scratch = Scratch::new();
    run(input, || disk(&scratch), |_, _| {});
}

/// Queues of the network card.
pub fn net(input: &[u8]) {
    let mut wire: Option<OwnedFd> = None;
    let wire_of_now = RefCell::new(&mut wire);
    let make = || {
        let (ours, theirs) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::NONBLOCK | SocketFlags::CLOEXEC,
            None,
        )
        .expect("socket pair");
        **wire_of_now.borrow_mut() = Some(theirs);
        let config = NetConfig {
            mac: [2; 6],
            mtu: 1500,
            rx_limit: RateLimit::default(),
            tx_limit: RateLimit::default(),
        };
        Net::new(config, Tap::configured(ours).expect("nonblocking"))
    };
    run(input, make, |_, input| {
        if let Some(wire) = wire_of_now.borrow().as_ref() {
            let frame = vec![input.byte(); usize::from(input.short() % 2000)];
            let _ = rustix::net::send(wire, &frame, SendFlags::empty());
        }
    });
}

/// Queues of the socket device, with a host that comes and goes.
pub fn vsock(input: &[u8]) {
    let host = RefCell::new(Host::new());
    run(
        input,
        || host.borrow_mut().device(),
        |_, input| host.borrow_mut().act(input),
    );
}

/// Well-formed chains with any packet in them: gets deeper into the streams than [`vsock`].
pub fn vsock_packets(input: &[u8]) {
    let mut host = Host::new();
    let mut driver = Driver::started(host.device(), 0);
    let mut input = Input(input);
    for _ in 0..32 {
        receive_buffer(&mut driver);
    }
    for _ in 0..MAX_OPERATIONS {
        if input.0.is_empty() {
            break;
        }
        if input.byte() % 4 == 0 {
            host.act(&mut input);
        } else {
            let packet = packet(&mut input);
            let chain = driver.readable(&packet);
            driver.offer(1, &[chain]);
            driver.kick(1);
        }
        driver.pump();
        while driver.used(0).is_some() {
            receive_buffer(&mut driver);
        }
        while driver.used(1).is_some() {}
    }
    driver.pump();
    assert_eq!(
        driver.faults.take().0,
        0,
        "a packet is never the queue's fault"
    );
}

fn receive_buffer(driver: &mut Driver<Vsock>) {
    let buffer = driver.writable(256);
    driver.offer(0, &[buffer]);
    driver.kick(0);
}

/// Ports from a few, so that packets meet streams; everything else from the input.
fn packet(input: &mut Input<'_>) -> Vec<u8> {
    let shape = input.byte();
    let odd = shape & 0x80 != 0;
    let src_cid = if odd { u64::from(input.word()) } else { 3 };
    let payload = vec![input.byte(); usize::from(input.byte() % 64)];
    let len = if odd {
        input.word()
    } else {
        payload.len() as u32
    };
    let host_port = match shape >> 4 & 7 {
        0..4 => 1 << 30 | u32::from(shape >> 4 & 3),
        _ => 5,
    };
    let op = if odd {
        input.short()
    } else {
        u16::from(input.byte() % 9)
    };
    let mut packet = Vec::new();
    packet.extend(src_cid.to_le_bytes());
    packet.extend(2u64.to_le_bytes());
    packet.extend(u32::from(shape & 3).to_le_bytes());
    packet.extend(host_port.to_le_bytes());
    packet.extend(len.to_le_bytes());
    packet.extend(1u16.to_le_bytes());
    packet.extend(op.to_le_bytes());
    packet.extend(u32::from(input.byte()).to_le_bytes());
    packet.extend(input.word().to_le_bytes());
    packet.extend(input.word().to_le_bytes());
    packet.extend(payload);
    packet
}

/// Runs a program on devices that `make` makes; `host` is the operation of the host's side.
fn run<D: VirtioDevice>(
    input: &[u8],
    mut make: impl FnMut() -> D,
    mut host: impl FnMut(&Driver<D>, &mut Input<'_>),
) {
    let mut input = Input(input);
    let features = if input.byte() & 1 == 0 { 0 } else { 1 << 29 };
    let mut driver = Driver::started(make(), features);
    for _ in 0..MAX_OPERATIONS {
        if input.0.is_empty() {
            break;
        }
        let queue = usize::from(input.byte()) % driver.rings.len();
        match input.byte() % 12 {
            0 | 1 => offer(&mut driver, queue, &mut input),
            2 => driver.raw_descriptor(
                queue,
                u16::from(input.byte()) % driver.rings[queue].size,
                address(&mut input),
                input.word(),
                input.short() & 7,
                input.short(),
            ),
            3 => driver.publish(queue, input.short()),
            4 => driver.kick(queue),
            5 => driver.write(u32::from(input.byte()) * 4, input.word()),
            6 => {
                let mut data = [input.byte(); 8];
                let (offset, len) = (u64::from(input.short()), usize::from(input.byte() % 9));
                driver.transport.write(offset, &data[..len]);
                driver.transport.read(offset, &mut data[..len]);
            }
            7 => driver = driver.moved_to(make()),
            8 => {
                driver.reset();
                driver.start(features);
            }
            9 => {
                let at = GuestAddress(RINGS + u64::from(input.short()));
                driver
                    .ram
                    .write_obj(input.short(), at)
                    .expect("rings are in memory");
            }
            10 => host(&driver, &mut input),
            _ => {
                driver.transport.pause();
                driver.transport.resume();
            }
        }
        driver.pump();
    }
    driver.transport.pause();
    let _ = driver.transport.save();
    driver.transport.resume();
    driver.reset();
    driver.start(features);
    driver.pump();
}

/// A chain in good order, whatever is in it.
fn offer<D: VirtioDevice>(driver: &mut Driver<D>, queue: usize, input: &mut Input<'_>) {
    let count = 1 + input.byte() % 4;
    let mut chain = Vec::new();
    for _ in 0..count {
        let kind = input.byte();
        let buffer = match kind % 3 {
            0 => {
                let bytes = input.bytes(usize::from(kind >> 2));
                driver.readable(bytes)
            }
            1 => driver.writable(usize::from(input.short())),
            _ => Buffer {
                address: address(input),
                len: u32::from(input.short()) * 16,
                writable: kind & 4 != 0,
            },
        };
        chain.push(buffer);
    }
    driver.offer(queue, &chain);
    if input.byte() & 1 == 0 {
        driver.kick(queue);
    }
}

/// An address that is mostly in or near memory.
fn address(input: &mut Input<'_>) -> u64 {
    let base = match input.byte() % 5 {
        0 => 0,
        1 => RINGS,
        2 => LOW_LEN as u64 - 0x100,
        3 => HIGH_START,
        _ => u64::MAX - 0xffff,
    };
    base + u64::from(input.short())
}

/// Host processes around the socket device.
struct Host {
    scratch: Scratch,
    socket: PathBuf,
    listener: Option<UnixListener>,
    streams: Vec<UnixStream>,
}

impl Host {
    fn new() -> Self {
        let (socket, listener, streams) = (PathBuf::new(), None, Vec::new());
        Self {
            scratch: Scratch::new(),
            socket,
            listener,
            streams,
        }
    }

    fn device(&mut self) -> Vsock {
        self.socket = self.scratch.unique("vsock");
        let listener = format!("{}_5", self.socket.display());
        self.listener = UnixListener::bind(&listener).ok();
        if let Some(listener) = &self.listener {
            listener.set_nonblocking(true).expect("nonblocking");
        }
        self.streams.clear();
        let config = VsockConfig {
            guest_cid: 3,
            socket: self.socket.clone(),
            max_streams: 8,
        };
        Vsock::bind(config).expect("bind")
    }

    fn act(&mut self, input: &mut Input<'_>) {
        let choice = input.byte();
        let which = usize::from(input.byte());
        let count = self.streams.len();
        match choice % 6 {
            0 => self
                .streams
                .extend(UnixStream::connect(&self.socket).ok().map(nonblocking)),
            1 if count > 0 => {
                let line = format!("CONNECT {}\n", input.byte() % 4);
                let _ = self.streams[which % count].write_all(line.as_bytes());
            }
            2 if count > 0 => {
                let bytes = vec![b'x'; usize::from(input.short())];
                let _ = self.streams[which % count].write(&bytes);
            }
            3 if count > 0 => {
                let _ = self.streams[which % count].read(&mut [0; 4096]);
            }
            4 if count > 0 => drop(self.streams.swap_remove(which % count)),
            5 => {
                let accepted = self
                    .listener
                    .as_ref()
                    .and_then(|listener| listener.accept().ok());
                self.streams
                    .extend(accepted.map(|(stream, _)| nonblocking(stream)));
            }
            _ => {}
        }
        self.streams.truncate(16);
    }
}

fn nonblocking(stream: UnixStream) -> UnixStream {
    stream.set_nonblocking(true).expect("nonblocking");
    stream
}

/// A directory of one run.
struct Scratch {
    directory: tempfile::TempDir,
    names: Cell<u32>,
}

impl Scratch {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("temporary directory");
        Self {
            directory,
            names: Cell::new(0),
        }
    }

    fn unique(&self, what: &str) -> PathBuf {
        self.names.set(self.names.get() + 1);
        self.directory
            .path()
            .join(format!("{what}{}", self.names.get()))
    }
}

fn disk(scratch: &Scratch) -> Block {
    const DISK_BYTES: u64 = 1 << 20;
    let base = scratch.directory.path().join("base");
    let mut file = fs::File::create(&base).expect("base");
    file.write_all(&[0x5a; 8192]).expect("base");
    file.set_len(DISK_BYTES).expect("base");
    let overlay = scratch.unique("overlay");
    create_overlay(&overlay, DISK_BYTES, Some((&base, DiskFormat::Raw))).expect("overlay");
    let layer = |path, format| DiskLayer { path, format };
    let config = BlockConfig {
        serial: "fuzz".into(),
        layers: vec![
            layer(base, DiskFormat::Raw),
            layer(overlay, DiskFormat::Qcow2),
        ],
        read_only: false,
        limit: RateLimit::default(),
        is_replaced: false,
    };
    Block::open(config).expect("open")
}

/// The rest of the program. Reads zeroes beyond its end.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let taken = self.bytes(N);
        array[..taken.len()].copy_from_slice(taken);
        array
    }

    fn byte(&mut self) -> u8 {
        u8::from_le_bytes(self.array())
    }

    fn short(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    fn word(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }
}
