//! The control socket: `hearth_wire::vmm` requests in, replies and events out.
//!
//! ```text
//!   inherited socket --.
//!                       >-- at most CLIENTS_MAX clients --> next_request --> reply to (client, request)
//!   listening socket --'                               <-- events to all
//! ```
//!
//! A reply goes to the client that asked. If that one left, the reply is dropped: a node that comes back asks for
//! the state. Clients are not trusted to be quick: reading and writing never block, and what waits to be read or
//! written is bounded.

use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use hearth_wire::frame::{self, FrameError, PREFIX_BYTES};
use hearth_wire::vmm::{
    CLIENTS_MAX, Command, Envelope, Event, Message, PROTOCOL_VERSION, Reply, Request, RequestId,
};
use vmm_sys_util::epoll::EventSet;

use crate::virtio::Registrar;

/// Token of the listening socket in the process's slot.
pub(crate) const LISTENER_TOKEN: u32 = 0;

/// Token of the first client's socket in the process's slot; those of the others follow, and nothing else does.
pub(crate) const CLIENT_TOKENS: u32 = 16;

/// Most bytes of replies that wait for one client. A client that lets more gather is disconnected. One reply has less
/// than 24 KiB.
const OUTPUT_MAX_BYTES: usize = 256 << 10;

/// Bytes of one read.
const READ_BYTES: usize = 16 << 10;

/// Why the control socket could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The listening socket could not be made.
    #[error("listen on the control socket")]
    Listen(#[source] io::Error),
    /// The inherited connection cannot be used.
    #[error("use the inherited control connection")]
    Inherit(#[source] io::Error),
    /// A socket could not be registered with the event loop.
    #[error("watch the control socket")]
    Watch(#[source] io::Error),
}

/// The control sockets: a listener and its clients.
#[derive(Debug)]
pub(crate) struct ControlServer {
    listener: Option<UnixListener>,
    /// Where the listener is bound.
    path: Option<PathBuf>,
    /// The token of a client is its place behind [`CLIENT_TOKENS`].
    clients: [Option<Client>; CLIENTS_MAX],
    /// Counts connections and requests: what came later has the larger number.
    clock: u64,
    registrar: Registrar,
}

/// The client that sent a request, and the number of that request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asker {
    place: usize,
    /// Number of the connection. A later client in the same place has another number.
    client: u64,
    /// Number of the request.
    pub(crate) request: RequestId,
}

#[derive(Debug)]
struct Client {
    stream: UnixStream,
    number: u64,
    /// Value of the clock when the client last connected or sent a request.
    active: u64,
    /// Number of requests that have no reply yet.
    waiting: usize,
    input: Vec<u8>,
    output: Vec<u8>,
}

impl ControlServer {
    /// Creates it without a listener and without clients.
    pub(crate) fn new(registrar: Registrar) -> Self {
        Self {
            listener: None,
            path: None,
            clients: [const { None }; CLIENTS_MAX],
            clock: 0,
            registrar,
        }
    }

    /// Starts to listen on a Unix socket at `path`.
    pub(crate) fn listen(&mut self, path: &Path) -> Result<(), ControlError> {
        let listener = UnixListener::bind(path).map_err(ControlError::Listen)?;
        listener
            .set_nonblocking(true)
            .map_err(ControlError::Listen)?;
        self.registrar
            .add(listener.as_raw_fd(), LISTENER_TOKEN, EventSet::IN)
            .map_err(ControlError::Watch)?;
        self.listener = Some(listener);
        self.path = Some(path.to_owned());
        Ok(())
    }

    /// Takes over a socket that is connected already, as the first client.
    pub(crate) fn inherit(&mut self, connection: OwnedFd) -> Result<(), ControlError> {
        let stream = UnixStream::from(connection);
        self.attach(stream).map_err(ControlError::Inherit)
    }

    /// Whether a client is connected or can connect.
    pub(crate) fn is_reachable(&self) -> bool {
        self.listener.is_some() || self.clients.iter().any(Option::is_some)
    }

    /// Accepts all clients that wait in the listener's backlog.
    pub(crate) fn accept(&mut self) {
        while let Some(Ok((stream, _))) = self.listener.as_ref().map(UnixListener::accept) {
            // A client that cannot be watched is dropped, which it sees as a closed connection.
            let _ = self.attach(stream);
        }
    }

    fn attach(&mut self, stream: UnixStream) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        let place = self.free_place();
        self.registrar
            .add(stream.as_raw_fd(), token(place), EventSet::IN)?;
        let now = self.tick();
        self.clients[place] = Some(Client {
            stream,
            number: now,
            active: now,
            waiting: 0,
            input: Vec::new(),
            output: Vec::new(),
        });
        Ok(())
    }

    /// Finds a place for one more client. If all places are taken, the client that was idle for longest is
    /// disconnected. A client that waits for a reply is disconnected only if all of them do.
    fn free_place(&mut self) -> usize {
        let rank = |client: &Option<Client>| {
            client
                .as_ref()
                .map(|client| (client.waiting > 0, client.active))
        };
        let ranked = self.clients.iter().map(rank).enumerate();
        let place = ranked.min_by_key(|(_, rank)| *rank).map_or(0, |(at, _)| at);
        self.detach(place);
        place
    }

    fn detach(&mut self, place: usize) {
        if let Some(client) = self.clients[place].take() {
            self.registrar.remove(client.stream.as_raw_fd());
        }
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// The next whole request of the client with this token, if there is one. A client that breaks the protocol or has
    /// disconnected is removed.
    pub(crate) fn next_request(&mut self, token: u32) -> Option<(Asker, Request)> {
        let place = place(token)?;
        let now = self.tick();
        let client = self.clients[place].as_mut()?;
        match client.next_request() {
            Ok(Some(request)) => {
                client.active = now;
                client.waiting += 1;
                let asker = Asker {
                    place,
                    client: client.number,
                    request: request.id,
                };
                Some((asker, request))
            }
            Ok(None) => None,
            Err(_) => {
                self.detach(place);
                None
            }
        }
    }

    /// Answers a request, now or when its client reads again. The reply to a client that has disconnected is dropped.
    pub(crate) fn reply(&mut self, to: Asker, reply: Reply) {
        let client = self.clients[to.place].as_mut();
        let Some(client) = client.filter(|client| client.number == to.client) else {
            return;
        };
        client.waiting = client.waiting.saturating_sub(1);
        let id = to.request;
        self.send(to.place, Message::Reply { id, reply });
    }

    /// Sends an event to all clients.
    pub(crate) fn tell(&mut self, event: &Event) {
        for place in 0..CLIENTS_MAX {
            self.send(place, Message::Event(event.clone()));
        }
    }

    fn send(&mut self, place: usize, message: Message) {
        let Some(client) = &mut self.clients[place] else {
            return;
        };
        let Ok(bytes) = frame::encode(&Envelope::new(message)) else {
            return;
        };
        client.output.extend_from_slice(&bytes);
        self.flush(token(place));
    }

    /// Writes the output that waits for the client with this token.
    pub(crate) fn flush(&mut self, token: u32) {
        let Some(place) = place(token) else {
            return;
        };
        let Some(client) = &mut self.clients[place] else {
            return;
        };
        let is_alive = client.write_out().is_ok() && client.output.len() <= OUTPUT_MAX_BYTES;
        let interest = match client.output.is_empty() {
            true => EventSet::IN,
            false => EventSet::IN | EventSet::OUT,
        };
        let watched = self
            .registrar
            .modify(client.stream.as_raw_fd(), token, interest);
        if !is_alive || watched.is_err() {
            self.detach(place);
        }
    }
}

fn token(place: usize) -> u32 {
    // Below `CLIENTS_MAX`.
    CLIENT_TOKENS + place as u32
}

fn place(token: u32) -> Option<usize> {
    let place = token.checked_sub(CLIENT_TOKENS)? as usize;
    (place < CLIENTS_MAX).then_some(place)
}

impl Drop for ControlServer {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // Whoever connects later would be refused anyway; what stays is swept by the node.
            let _ = std::fs::remove_file(path);
        }
    }
}

impl Client {
    fn next_request(&mut self) -> Result<Option<Request>, FrameError> {
        loop {
            if let Some(request) = self.take_frame()? {
                return Ok(Some(request));
            }
            // Never more than one frame and one read are held.
            let mut piece = [0; READ_BYTES];
            match self.stream.read(&mut piece) {
                Ok(0) => return Err(FrameError::Closed),
                Ok(count) => self.input.extend_from_slice(&piece[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn take_frame(&mut self) -> Result<Option<Request>, FrameError> {
        let Some((prefix, rest)) = self.input.split_first_chunk::<PREFIX_BYTES>() else {
            return Ok(None);
        };
        let length = frame::body_length(*prefix)?;
        let Some(body) = rest.get(..length) else {
            return Ok(None);
        };
        let request = decode(body)?;
        self.input.drain(..PREFIX_BYTES + length);
        Ok(Some(request))
    }

    fn write_out(&mut self) -> io::Result<()> {
        let mut written = 0;
        while written < self.output.len() {
            match self.stream.write(&self.output[written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.output.drain(..written);
        Ok(())
    }
}

/// A request of another version need not decode as a whole: its version does, and from version 2 on its id.
fn decode(body: &[u8]) -> Result<Request, FrameError> {
    let (version, rest) = postcard::take_from_bytes::<u16>(body).map_err(FrameError::Decode)?;
    if version != PROTOCOL_VERSION {
        let id = postcard::take_from_bytes(rest).map_or(0, |(id, _)| id);
        return Ok(Request {
            version,
            id: RequestId(id),
            command: Command::Status,
        });
    }
    frame::decode(body)
}

#[cfg(test)]
mod tests;
