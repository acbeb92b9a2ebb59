//! All streams of one guest: routes packets and events to them, and decides which stream sends to the guest next. Knows
//! nothing of queues.

use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;

use vmm_sys_util::epoll::EventSet;

use super::super::chain::Buffers;
use super::super::poller::{PollEvent, Registrar};
use super::packet::{HOST_CID, Header, Op, Ports, TYPE_STREAM};
use super::socket::{FirstLine, HostSocket};
use super::stream::{Phase, Step, Stream, Verdict};

/// Most pending RST answers to packets of streams that do not exist. When that many wait, the guest's packets are left
/// in its queue until it takes the answers (VIRTIO 1.3 section 5.10.6.1.2).
const MAX_RESETS: usize = 256;

/// Host ports of streams that the host opens: above everything that people choose.
const FIRST_HOST_PORT: u32 = 1 << 30;

/// Bytes from which windows are granted: a stream promises to buffer a window of guest data. The first 32 streams get
/// the largest windows. With more streams windows shrink, so that all together stay below 40 MiB even with 1023 streams
/// that do not drain.
const WINDOW_BUDGET: u32 = 8 << 20;
const MAX_WINDOW: u32 = 256 << 10;
const MIN_WINDOW: u32 = 8 << 10;

/// First epoll token of streams; a stream's token is this plus its index.
pub(super) const STREAM_TOKENS: u32 = 64;

#[derive(Debug)]
pub(super) struct Mux {
    guest_cid: u64,
    socket: PathBuf,
    max_streams: usize,
    registrar: Option<Registrar>,
    streams: Vec<Option<Stream>>,
    free: Vec<usize>,
    by_ports: HashMap<Ports, usize>,
    ready: VecDeque<usize>,
    resets: VecDeque<Ports>,
    next_host_port: u32,
    /// Whether requests to the guest wait until it has dropped its old streams.
    held: bool,
}

/// A random port from which this process begins to allocate host ports. A restored guest may still know streams of the
/// previous process (Linux keeps an orphaned one for 8 s) and would refuse a new one with the same ports.
fn first_host_port() -> u32 {
    let mut random = [0; 4];
    // Without randomness, which only an old kernel lacks early in its boot, the beginning is as good as any.
    let _ = rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::NONBLOCK);
    FIRST_HOST_PORT | u32::from_ne_bytes(random) & (FIRST_HOST_PORT - 1)
}

impl Mux {
    pub(super) fn new(guest_cid: u64, socket: PathBuf, max_streams: usize) -> Self {
        Self {
            guest_cid,
            socket,
            max_streams,
            registrar: None,
            streams: Vec::new(),
            free: Vec::new(),
            by_ports: HashMap::new(),
            ready: VecDeque::new(),
            resets: VecDeque::new(),
            next_host_port: first_host_port(),
            held: false,
        }
    }

    /// Number of streams that exist, in any phase.
    pub(super) fn len(&self) -> usize {
        self.streams.len() - self.free.len()
    }

    pub(super) fn set_registrar(&mut self, registrar: Registrar) {
        self.registrar = Some(registrar);
    }

    /// Drops all streams without notifying the guest.
    pub(super) fn clear(&mut self) {
        self.streams.clear();
        self.free.clear();
        self.by_ports.clear();
        self.ready.clear();
        self.resets.clear();
    }

    /// Sets whether requests to the guest are held back.
    pub(super) fn set_held(&mut self, held: bool) {
        self.held = held;
        if !held {
            self.enqueue_all();
        }
    }

    /// Marks every socket as ready: events may have been missed while the device was stopped.
    pub(super) fn assume_ready(&mut self) {
        for id in 0..self.streams.len() {
            if self.streams[id]
                .as_ref()
                .is_some_and(|stream| stream.phase == Phase::Greeting)
            {
                self.on_greeting(id, EventSet::empty());
            } else if let Some(stream) = &mut self.streams[id] {
                stream.assume_ready();
                let verdict = stream.on_socket(EventSet::empty());
                self.conclude(id, verdict);
            }
        }
    }

    fn enqueue_all(&mut self) {
        for id in 0..self.streams.len() {
            self.enqueue(id);
        }
    }

    /// Whether packets of the guest may be handled: there must be room for the answers.
    pub(super) fn can_take_packets(&self) -> bool {
        self.resets.len() < MAX_RESETS
    }

    /// Adds the stream of a host process that connected.
    pub(super) fn on_host_connection(&mut self, fd: OwnedFd) {
        let stream = Stream::greeting(HostSocket::accepted(fd), self.window());
        if let Some(id) = self.insert(stream) {
            // Its line may be there already; the edge may be behind us.
            self.on_greeting(id, EventSet::empty());
        }
    }

    /// Handles an event of a stream's socket.
    pub(super) fn on_event(&mut self, event: PollEvent) {
        let Some(id) = event.token.checked_sub(STREAM_TOKENS).map(|id| id as usize) else {
            return;
        };
        let Some(Some(stream)) = self.streams.get_mut(id) else {
            return;
        };
        if stream.phase == Phase::Greeting {
            return self.on_greeting(id, event.ready);
        }
        let verdict = stream.on_socket(event.ready);
        self.conclude(id, verdict);
    }

    fn on_greeting(&mut self, id: usize, ready: EventSet) {
        let Some(socket) = self.streams[id].as_ref().and_then(Stream::socket) else {
            return;
        };
        match socket.first_line() {
            FirstLine::Incomplete => {
                if ready.intersects(EventSet::HANG_UP | EventSet::READ_HANG_UP) {
                    self.remove(id);
                }
            }
            FirstLine::Refused => self.remove(id),
            FirstLine::Connect(port) => {
                let ports = Ports {
                    guest: port,
                    host: self.host_port(port),
                };
                self.by_ports.insert(ports, id);
                if let Some(stream) = &mut self.streams[id] {
                    stream.request(ports);
                }
                self.enqueue(id);
            }
        }
    }

    /// Allocates a host port for a stream to the guest's port `guest`. Ports are taken in turn, so a port is reused
    /// after 2^30 streams.
    fn host_port(&mut self, guest: u32) -> u32 {
        loop {
            let host = self.next_host_port;
            self.next_host_port = FIRST_HOST_PORT | host.wrapping_add(1) & (FIRST_HOST_PORT - 1);
            if !self.by_ports.contains_key(&Ports { guest, host }) {
                return host;
            }
        }
    }

    /// Handles a packet from the guest. `payload` has the length that the header says; `None` if the chain is shorter.
    pub(super) fn on_packet(&mut self, header: &Header, payload: Option<Buffers<'_>>) {
        if header.src_cid != self.guest_cid || header.dst_cid != HOST_CID {
            // Nobody to answer (VIRTIO 1.3 section 5.10.6.4.2 wants a known source).
            return;
        }
        let ports = Ports {
            guest: header.src_port,
            host: header.dst_port,
        };
        let known = self.by_ports.get(&ports).copied();
        let (Some(op), Some(mut payload), TYPE_STREAM) = (header.op, payload, header.kind) else {
            return self.refuse(ports, known);
        };
        let Some(id) = known else {
            return match op {
                Op::Request => self.on_guest_connection(ports, header),
                Op::Reset => {}
                _ => self.owe_reset(ports),
            };
        };
        if let Some(stream) = &mut self.streams[id] {
            let verdict = stream.on_packet(op, header, &mut payload);
            self.conclude(id, verdict);
        }
    }

    fn refuse(&mut self, ports: Ports, known: Option<usize>) {
        match known {
            Some(id) => self.conclude(id, Verdict::Reset),
            None => self.owe_reset(ports),
        }
    }

    fn on_guest_connection(&mut self, ports: Ports, request: &Header) {
        let window = self.window();
        let opened = HostSocket::connect(&self.socket, ports.host)
            .ok()
            .and_then(|socket| self.insert(Stream::answered(ports, socket, window, request)));
        match opened {
            Some(id) => {
                self.by_ports.insert(ports, id);
                self.enqueue(id);
            }
            None => self.owe_reset(ports),
        }
    }

    fn window(&self) -> u32 {
        let sharers = u32::try_from(self.len() + 1).unwrap_or(u32::MAX);
        (WINDOW_BUDGET / sharers).clamp(MIN_WINDOW, MAX_WINDOW)
    }

    /// Adds the stream and watches its socket. `None` if there is no room or the kernel refuses; the socket is then
    /// closed.
    fn insert(&mut self, stream: Stream) -> Option<usize> {
        if self.len() >= self.max_streams {
            self.evict_lingering()?;
        }
        let id = self.free.pop().unwrap_or_else(|| {
            self.streams.push(None);
            self.streams.len() - 1
        });
        let fd = stream.socket().map(|socket| socket.as_fd().as_raw_fd());
        let interest =
            EventSet::IN | EventSet::OUT | EventSet::READ_HANG_UP | EventSet::EDGE_TRIGGERED;
        let watched = match (&self.registrar, fd) {
            (Some(registrar), Some(fd)) => registrar
                .add(fd, STREAM_TOKENS + id as u32, interest)
                .is_ok(),
            _ => false,
        };
        if !watched {
            self.free.push(id);
            return None;
        }
        self.streams[id] = Some(stream);
        Some(id)
    }

    /// Makes room by dropping a stream that only waits for the guest's last packet.
    fn evict_lingering(&mut self) -> Option<()> {
        let lingers =
            |stream: &Option<Stream>| matches!(stream, Some(s) if s.phase == Phase::Lingering);
        let id = self.streams.iter().position(lingers)?;
        self.remove(id);
        Some(())
    }

    fn remove(&mut self, id: usize) {
        if let Some(stream) = self.streams[id].take() {
            if let Some(ports) = stream.ports {
                self.by_ports.remove(&ports);
            }
            if stream.queued {
                // Or else streams that come and go would leave their names here without end.
                self.ready.retain(|queued| *queued != id);
            }
            self.free.push(id);
        }
    }

    fn conclude(&mut self, id: usize, verdict: Verdict) {
        match verdict {
            Verdict::Keep => self.enqueue(id),
            Verdict::Drop => self.remove(id),
            Verdict::Reset => {
                let ports = self.streams[id].as_ref().and_then(|stream| stream.ports);
                self.remove(id);
                if let Some(ports) = ports {
                    self.owe_reset(ports);
                }
            }
        }
    }

    fn owe_reset(&mut self, ports: Ports) {
        // Events of host sockets can exceed the limit, at most once for each stream.
        if self.resets.len() < MAX_RESETS + self.max_streams {
            self.resets.push_back(ports);
        }
    }

    fn enqueue(&mut self, id: usize) {
        let held = self.held;
        if let Some(Some(stream)) = self.streams.get_mut(id)
            && !stream.queued
            && stream.has_step()
            && !(held && stream.phase == Phase::Requested)
        {
            stream.queued = true;
            self.ready.push_back(id);
        }
    }

    /// Whether there is anything for the guest's receive queue.
    pub(super) fn has_output(&self) -> bool {
        !self.resets.is_empty() || !self.ready.is_empty()
    }

    /// The next packet for the guest, which must be delivered; or the stream whose data is next.
    pub(super) fn next_output(&mut self) -> Option<Output> {
        if let Some(ports) = self.resets.pop_front() {
            return Some(Output::Control(Header::to_guest(
                self.guest_cid,
                ports,
                Op::Reset,
            )));
        }
        while let Some(id) = self.ready.pop_front() {
            let Some(stream) = &mut self.streams[id] else {
                continue;
            };
            stream.queued = false;
            let Some(ports) = stream.ports else { continue };
            match stream.take_step() {
                Step::Nothing => {}
                Step::Data(limit) => return Some(Output::Data { id, limit }),
                Step::Control(op, flags) => {
                    let header = stream.header(self.guest_cid, ports, op, flags, 0);
                    if op == Op::Reset {
                        self.remove(id);
                    } else {
                        self.enqueue(id);
                    }
                    return Some(Output::Control(header));
                }
            }
        }
        None
    }

    /// The stream that [`Output::Data`] named.
    pub(super) fn stream(&mut self, id: usize) -> Option<&mut Stream> {
        self.streams.get_mut(id)?.as_mut()
    }

    /// Header of the data packet that stream `id` filled with `len` bytes.
    pub(super) fn data_header(&mut self, id: usize, len: u32) -> Option<Header> {
        let guest_cid = self.guest_cid;
        let stream = self.stream(id)?;
        let ports = stream.ports?;
        Some(stream.header(guest_cid, ports, Op::Data, 0, len))
    }

    /// Ends the turn of a stream. It is queued behind the others if it has more to send.
    pub(super) fn end_turn(&mut self, id: usize) {
        self.enqueue(id);
    }
}

/// Output for the guest's receive queue.
#[derive(Debug)]
pub(super) enum Output {
    /// A packet without data.
    Control(Header),
    /// Data of stream `id`, at most `limit` bytes.
    Data { id: usize, limit: u32 },
}
