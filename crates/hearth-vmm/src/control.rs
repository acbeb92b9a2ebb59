//! The control socket: `hearth_wire::vmm` requests in, replies and events out.
//!
//! One client at a time, the newest: a node that lost its connection comes back on the listening socket and
//! finds the machine as it is. The client is not trusted to be quick: reading and writing never block, and what
//! waits to be read or written is bounded.

use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use hearth_wire::frame::{self, FrameError, PREFIX_BYTES};
use hearth_wire::vmm::{Message, PROTOCOL_VERSION, Request};
use vmm_sys_util::epoll::EventSet;

use crate::virtio::Registrar;

/// Token of the listening socket in the machine's slot.
pub(crate) const LISTENER_TOKEN: u32 = 0;

/// Token of the client's socket.
pub(crate) const CLIENT_TOKEN: u32 = 1;

/// Bytes of replies that wait for a client; one that lets more gather is cut off. A reply has less than 24 KiB.
const OUTPUT_MAX_BYTES: usize = 256 << 10;

/// Bytes of one read.
const READ_BYTES: usize = 16 << 10;

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The listening socket.
    #[error("listen on the control socket")]
    Listen(#[source] io::Error),
    /// The inherited connection.
    #[error("use the inherited control connection")]
    Inherit(#[source] io::Error),
    /// The event loop.
    #[error("watch the control socket")]
    Watch(#[source] io::Error),
}

/// The sockets.
#[derive(Debug)]
pub(crate) struct Control {
    listener: Option<UnixListener>,
    /// Where the listener is bound.
    path: Option<PathBuf>,
    client: Option<Client>,
    registrar: Registrar,
}

#[derive(Debug)]
struct Client {
    stream: UnixStream,
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Control {
    /// Sockets without anyone on them.
    pub(crate) fn new(registrar: Registrar) -> Self {
        Self {
            listener: None,
            path: None,
            client: None,
            registrar,
        }
    }

    /// Listens at `path`.
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

    /// Takes over a connected socket.
    pub(crate) fn inherit(&mut self, connection: OwnedFd) -> Result<(), ControlError> {
        let stream = UnixStream::from(connection);
        self.attach(stream).map_err(ControlError::Inherit)
    }

    /// Whether anybody is or can be there.
    pub(crate) fn is_reachable(&self) -> bool {
        self.listener.is_some() || self.client.is_some()
    }

    /// Takes the newest of the clients that wait.
    pub(crate) fn accept(&mut self) {
        while let Some(Ok((stream, _))) = self.listener.as_ref().map(UnixListener::accept) {
            // A client that cannot be watched is dropped, which it sees as a closed connection.
            let _ = self.attach(stream);
        }
    }

    fn attach(&mut self, stream: UnixStream) -> io::Result<()> {
        self.detach();
        stream.set_nonblocking(true)?;
        self.registrar
            .add(stream.as_raw_fd(), CLIENT_TOKEN, EventSet::IN)?;
        self.client = Some(Client {
            stream,
            input: Vec::new(),
            output: Vec::new(),
        });
        Ok(())
    }

    fn detach(&mut self) {
        if let Some(client) = self.client.take() {
            self.registrar.remove(client.stream.as_raw_fd());
        }
    }

    /// The next whole request, if there is one. A client that breaks the protocol or left is forgotten.
    pub(crate) fn next_request(&mut self) -> Option<Request> {
        match self.client.as_mut()?.next_request() {
            Ok(request) => request,
            Err(_) => {
                self.detach();
                None
            }
        }
    }

    /// Sends a message, now or when the client reads again. Without a client it is lost: a
    /// node that comes back asks for the state.
    pub(crate) fn send(&mut self, message: &Message) {
        let Some(client) = &mut self.client else {
            return;
        };
        let Ok(bytes) = frame::encode(message) else {
            return;
        };
        client.output.extend_from_slice(&bytes);
        self.flush();
    }

    /// Writes what waits.
    pub(crate) fn flush(&mut self) {
        let Some(client) = &mut self.client else {
            return;
        };
        let is_alive = client.write_out().is_ok() && client.output.len() <= OUTPUT_MAX_BYTES;
        let interest = match client.output.is_empty() {
            true => EventSet::IN,
            false => EventSet::IN | EventSet::OUT,
        };
        let watched = self
            .registrar
            .modify(client.stream.as_raw_fd(), CLIENT_TOKEN, interest);
        if !is_alive || watched.is_err() {
            self.detach();
        }
    }
}

impl Drop for Control {
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

/// A request of another version need not decode as a whole: its version does.
fn decode(body: &[u8]) -> Result<Request, FrameError> {
    let (version, _) = postcard::take_from_bytes::<u16>(body).map_err(FrameError::Decode)?;
    if version != PROTOCOL_VERSION {
        return Ok(Request {
            version,
            command: hearth_wire::vmm::Command::Status,
        });
    }
    frame::decode(body)
}

#[cfg(test)]
mod tests;
