//! One stream between a host socket and a guest socket.
//!
//! ```text
//!  host connects:   Greeting --CONNECT line--> Requested --RESPONSE--> Open
//!  guest connects:  ------------------------------------- REQUEST ---> Open
//!
//!  Open --host closed, or both directions ended--> Lingering --RST or SHUTDOWN--> gone
//!  any  --RST, or a packet that breaks the rules--> gone
//! ```
//!
//! Pending packets to the guest are a set of flags, not a list, so a stream's memory is bounded by its window whatever
//! the guest does. Readiness of the host socket is remembered (edge-triggered), so a guest that does not take its data
//! causes no work.

use std::collections::VecDeque;
use std::io::ErrorKind;

use vmm_sys_util::epoll::EventSet;

use super::super::chain::Buffers;
use super::credit::Credit;
use super::packet::{Header, Op, Ports, SHUTDOWN_BOTH, SHUTDOWN_RECEIVE, SHUTDOWN_SEND};
use super::socket::HostSocket;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The stream waits for the host's first line.
    Greeting,
    /// The stream waits for the guest's answer to our request.
    Requested,
    /// Data flows.
    Open,
    /// The host's socket is closed, or both directions ended; the stream waits for the guest's last packet.
    Lingering,
}

/// Packets that are to be sent to the guest.
#[derive(Debug, Clone, Copy, Default)]
struct Due {
    request: bool,
    response: bool,
    shutdown: bool,
    credit_update: bool,
    credit_request: bool,
    reset: bool,
}

/// The next packet from this stream to the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// A packet without data: operation and flags.
    Control(Op, u32),
    /// Up to this many bytes from the host's socket.
    Data(u32),
    /// No packet for now.
    Nothing,
}

/// Whether a stream is kept after a packet or an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(super) enum Verdict {
    /// The stream is kept.
    Keep,
    /// The stream is dropped, and the guest knows.
    Drop,
    /// The stream is dropped, and an RST must be sent to the guest.
    Reset,
}

#[derive(Debug)]
pub(super) struct Stream {
    /// The ports of the stream, once they are known.
    pub(super) ports: Option<Ports>,
    pub(super) phase: Phase,
    /// Whether it is in the list of streams that have something for the guest.
    pub(super) queued: bool,
    /// Number of receive buffers offered to one read; grows while reads fill them.
    pub(super) batch: usize,
    socket: Option<HostSocket>,
    credit: Credit,
    /// Guest data that the host's socket did not take yet; at most the window.
    backlog: VecDeque<u8>,
    due: Due,
    readable: bool,
    writable: bool,
    /// Whether the host's end is closed in both directions.
    hung_up: bool,
    /// Whether the guest was told that the host will send no more.
    eof_sent: bool,
    /// Shutdown flags that the guest has sent.
    guest_ended: u32,
    /// Whether the host's process was told that the guest will send no more.
    write_ended: bool,
}

impl Stream {
    /// Creates the stream of a host process that connected.
    pub(super) fn greeting(socket: HostSocket, window: u32) -> Self {
        Self::new(None, Phase::Greeting, socket, window)
    }

    /// Creates the stream of a guest that connected to a listener of the host.
    pub(super) fn answered(
        ports: Ports,
        socket: HostSocket,
        window: u32,
        request: &Header,
    ) -> Self {
        let mut stream = Self::new(Some(ports), Phase::Open, socket, window);
        stream.due.response = true;
        stream
            .credit
            .update_peer(request.buf_alloc, request.fwd_cnt);
        stream
    }

    fn new(ports: Option<Ports>, phase: Phase, socket: HostSocket, window: u32) -> Self {
        Self {
            ports,
            phase,
            queued: false,
            batch: 1,
            socket: Some(socket),
            credit: Credit::new(window),
            backlog: VecDeque::new(),
            due: Due::default(),
            readable: false,
            writable: true,
            hung_up: false,
            eof_sent: false,
            guest_ended: 0,
            write_ended: false,
        }
    }

    pub(super) fn socket(&self) -> Option<&HostSocket> {
        self.socket.as_ref()
    }

    /// Notes the ports of a stream once the host has named the guest's port.
    pub(super) fn request(&mut self, ports: Ports) {
        self.ports = Some(ports);
        self.phase = Phase::Requested;
        self.due.request = true;
    }

    /// Marks the socket as ready: events may have been missed.
    pub(super) fn assume_ready(&mut self) {
        self.readable = true;
        self.writable = true;
    }

    /// Handles an event of the host's socket.
    pub(super) fn on_socket(&mut self, ready: EventSet) -> Verdict {
        if ready.contains(EventSet::OUT) {
            self.writable = true;
        }
        if ready.intersects(EventSet::IN | EventSet::READ_HANG_UP) {
            self.readable = true;
        }
        if ready.intersects(EventSet::HANG_UP | EventSet::ERROR) {
            self.hung_up = true;
            self.readable = true;
            if self.phase == Phase::Requested {
                // A guest that never heard of it needs not hear of its end.
                return if self.due.request {
                    Verdict::Drop
                } else {
                    Verdict::Reset
                };
            }
        }
        self.flush();
        // Nobody will read up to the end of a stream whose first half ended already.
        let first_half_ended = self.eof_sent || self.guest_ended & SHUTDOWN_RECEIVE != 0;
        self.due.shutdown |= self.hung_up && first_half_ended;
        self.settle()
    }

    /// Handles a packet of the guest on this stream.
    pub(super) fn on_packet(
        &mut self,
        op: Op,
        header: &Header,
        payload: &mut Buffers<'_>,
    ) -> Verdict {
        self.credit.update_peer(header.buf_alloc, header.fwd_cnt);
        match op {
            Op::Reset => {
                self.flush();
                return Verdict::Drop;
            }
            // A second request for the same ports.
            Op::Request => return Verdict::Reset,
            Op::Response if self.phase == Phase::Requested && !self.due.request => {
                return self.greet();
            }
            Op::Response => return Verdict::Reset,
            Op::Data if self.phase == Phase::Open => return self.receive(payload),
            Op::Data => return Verdict::Reset,
            Op::Shutdown => self.end(header.flags & SHUTDOWN_BOTH),
            Op::CreditRequest => self.due.credit_update = self.phase == Phase::Open,
            Op::CreditUpdate => self.due.credit_request = false,
        }
        self.settle()
    }

    /// Sends the host's process the line that the guest accepted.
    fn greet(&mut self) -> Verdict {
        self.phase = Phase::Open;
        let (Some(socket), Some(ports)) = (&self.socket, self.ports) else {
            return Verdict::Reset;
        };
        // A socket that was never written to takes a line at once.
        let line = format!("OK {}\n", ports.host);
        match socket.send(line.as_bytes()) {
            Ok(sent) if sent == line.len() => Verdict::Keep,
            _ => Verdict::Reset,
        }
    }

    fn receive(&mut self, payload: &mut Buffers<'_>) -> Verdict {
        // The length of a chain is bounded far below 2^32.
        let len = payload.len() as u32;
        if self.guest_ended & SHUTDOWN_SEND != 0 || !self.credit.receive(len) {
            return Verdict::Reset;
        }
        while self.backlog.is_empty() && self.writable && !self.hung_up && !payload.is_empty() {
            let Some(socket) = &self.socket else { break };
            match socket.send_guest(payload) {
                Ok(sent) => {
                    payload.advance(sent);
                    self.credit.forwarded(sent as u32);
                }
                Err(error) => self.on_send_error(error.kind()),
            }
        }
        self.keep(payload);
        self.due.credit_update |= self.credit.owes_update();
        Verdict::Keep
    }

    /// Buffers the part of the payload that the socket did not take. If the socket is closed, the data is dropped and
    /// the guest gets its credit back, so that it goes on to read the end of the stream.
    fn keep(&mut self, payload: &mut Buffers<'_>) {
        if self.hung_up {
            self.credit.forwarded(payload.len() as u32);
            return;
        }
        let mut bytes = [0; 4096];
        loop {
            let count = payload.read(&mut bytes);
            if count == 0 {
                return;
            }
            self.backlog.extend(&bytes[..count]);
        }
    }

    /// Sends as much of the backlog as the socket takes.
    fn flush(&mut self) {
        while self.writable && !self.hung_up && !self.backlog.is_empty() {
            let Some(socket) = &self.socket else { break };
            match socket.send(self.backlog.as_slices().0) {
                Ok(sent) => {
                    self.backlog.drain(..sent);
                    self.credit.forwarded(sent as u32);
                }
                Err(error) => self.on_send_error(error.kind()),
            }
        }
        if self.hung_up && !self.backlog.is_empty() {
            self.credit.forwarded(self.backlog.len() as u32);
            self.backlog.clear();
        }
        if self.backlog.is_empty() {
            // A stream at rest keeps no memory.
            self.backlog = VecDeque::new();
        }
        self.due.credit_update |= self.phase == Phase::Open && self.credit.owes_update();
    }

    fn on_send_error(&mut self, kind: ErrorKind) {
        match kind {
            ErrorKind::WouldBlock => self.writable = false,
            ErrorKind::Interrupted => {}
            _ => {
                self.hung_up = true;
                self.readable = true;
            }
        }
    }

    /// Handles a shutdown of one or both directions by the guest.
    fn end(&mut self, flags: u32) {
        let new = flags & !self.guest_ended;
        self.guest_ended |= flags;
        if new & SHUTDOWN_RECEIVE != 0
            && let Some(socket) = &self.socket
        {
            socket.shutdown_read();
        }
    }

    /// Applies the consequences of the state: passes the guest's shutdown to the host after the last byte, and ends a
    /// stream that is shut down in both directions.
    fn settle(&mut self) -> Verdict {
        if !self.backlog.is_empty() {
            return Verdict::Keep;
        }
        if self.guest_ended == SHUTDOWN_BOTH {
            // The guest waits for this (VIRTIO 1.3 section 5.10.6.5).
            return Verdict::Reset;
        }
        if self.guest_ended & SHUTDOWN_SEND != 0 {
            // Once: every shutdown is an event on the socket itself.
            if let Some(socket) = &self.socket
                && !std::mem::replace(&mut self.write_ended, true)
            {
                socket.shutdown_write();
            }
            if self.eof_sent {
                self.linger();
            }
        }
        Verdict::Keep
    }

    fn linger(&mut self) {
        self.phase = Phase::Lingering;
        self.socket = None;
        self.backlog = VecDeque::new();
    }

    /// Whether this stream has a packet for the guest.
    pub(super) fn has_step(&self) -> bool {
        self.peek() != Step::Nothing
    }

    fn peek(&self) -> Step {
        if self.due.reset {
            return Step::Control(Op::Reset, 0);
        }
        if self.due.request {
            return Step::Control(Op::Request, 0);
        }
        if self.due.response {
            return Step::Control(Op::Response, 0);
        }
        if self.due.shutdown {
            let flags = if self.hung_up {
                SHUTDOWN_BOTH
            } else {
                SHUTDOWN_SEND
            };
            return Step::Control(Op::Shutdown, flags);
        }
        let wants_data = self.readable
            && self.phase == Phase::Open
            && !self.eof_sent
            && self.guest_ended & SHUTDOWN_RECEIVE == 0;
        if wants_data && self.credit.sendable() > 0 {
            return Step::Data(self.credit.sendable());
        }
        if self.due.credit_update {
            return Step::Control(Op::CreditUpdate, 0);
        }
        if wants_data && !self.due.credit_request {
            return Step::Control(Op::CreditRequest, 0);
        }
        Step::Nothing
    }

    /// Takes the next packet for the guest. It is no longer pending, so the caller must deliver it.
    pub(super) fn take_step(&mut self) -> Step {
        let step = self.peek();
        match step {
            Step::Control(Op::Request, _) => self.due.request = false,
            Step::Control(Op::Response, _) => self.due.response = false,
            Step::Control(Op::CreditRequest, _) => self.due.credit_request = true,
            Step::Control(Op::Shutdown, flags) => {
                self.due.shutdown = false;
                self.eof_sent = true;
                let guest_done = self.guest_ended & SHUTDOWN_SEND != 0 && self.backlog.is_empty();
                if flags == SHUTDOWN_BOTH || guest_done {
                    self.linger();
                }
            }
            _ => {}
        }
        step
    }

    /// Header of a packet with `len` bytes of data.
    pub(super) fn header(
        &mut self,
        guest_cid: u64,
        ports: Ports,
        op: Op,
        flags: u32,
        len: u32,
    ) -> Header {
        self.due.credit_update = false;
        let (buf_alloc, fwd_cnt) = self.credit.announce();
        self.credit.sent(len);
        if len > 0 {
            self.due.credit_request = false;
        }
        Header {
            len,
            flags,
            buf_alloc,
            fwd_cnt,
            ..Header::to_guest(guest_cid, ports, op)
        }
    }

    /// Reads from the host's socket into the payload parts of `chains`. Returns the number of bytes; 0 if nothing came,
    /// and the state says why.
    pub(super) fn read_into<'b, 'm: 'b>(
        &mut self,
        chains: impl IntoIterator<Item = &'b Buffers<'m>>,
    ) -> usize {
        let Some(socket) = &self.socket else { return 0 };
        match socket.receive_guest(chains) {
            Ok(0) => self.due.shutdown = true,
            Ok(count) => return count,
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => {}
                // Level again at the next turn.
                ErrorKind::Interrupted => return 0,
                _ => self.due.reset = true,
            },
        }
        self.readable = false;
        0
    }
}
