//! The name server of all guests. It forwards questions for allowed names to the host's name servers.
//!
//! A question comes from the address of a slot, which says whose it is. It is forwarded with an id and a spelling
//! that the guest does not know, so that a guest cannot help to forge an answer. If the egress lists names, an answer
//! first opens its addresses, and then goes to the guest.
//!
//! Guests share the places for questions and for TCP streams. A question holds its place only while it is answered.
//! The fewer places are free, the fewer one guest may have, so no number of busy guests can lock out another one.

mod message;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use message::fuzz;
mod openings;
mod upstream;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time;

use crate::addresses;
use crate::answered_set::AnsweredSet;
use crate::egress::Names;
use message::Question;
use openings::Openings;
use upstream::Upstream;

/// Largest UDP message that is read. Questions are far smaller.
const DATAGRAM_BYTES: usize = 4096;

/// Questions under way at one time: of all guests, and of one. Each has a socket of its own.
const QUESTIONS_MAX: usize = 512;
const QUESTIONS_OF_ONE: usize = 32;

/// TCP connections at one time: of all guests, and of one. A guest's own resolver has one or two.
const STREAMS_MAX: usize = 512;
const STREAMS_OF_ONE: usize = 8;

/// A guest gets another place as long as it has fewer than this fraction of the free ones. With a quarter, a hundred
/// guests that take all they can get leave some twenty places free, and any number of guests leaves four.
const SHARE_OF_FREE: usize = 4;

/// How long a guest's TCP connection may be silent.
const TCP_IDLE: Duration = Duration::from_secs(10);

/// How long an ended resolver may take to release its port.
const PREDECESSOR: Duration = Duration::from_secs(2);

/// Answers the guests of one host until it is dropped.
#[derive(Debug)]
pub(crate) struct Resolver {
    port: u16,
    guests: Arc<Guests>,
    _tasks: JoinSet<()>,
}

/// The guests, and what each may ask.
#[derive(Debug, Default)]
struct Guests {
    by_slot: Mutex<HashMap<u16, Arc<Guest>>>,
}

#[derive(Debug)]
struct Guest {
    names: Names,
    /// The addresses that answers have opened, if answers open any.
    openings: Option<Openings>,
    questions: Own,
    streams: Own,
}

impl Resolver {
    /// Listens on the host's address towards the slots: at the port in the rules of running guests, or else at the
    /// first free one.
    pub(crate) async fn start(
        port: Option<u16>,
        name_servers: Vec<SocketAddr>,
    ) -> io::Result<Self> {
        let (port, datagrams, streams) = match port {
            Some(port) => listen_again(port).await?,
            None => listen_anywhere().await?,
        };
        let guests = Arc::new(Guests::default());
        let shared = Shared {
            guests: Arc::clone(&guests),
            upstream: Arc::new(Upstream::new(name_servers)),
            questions: Arc::new(Semaphore::new(QUESTIONS_MAX)),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(shared.clone().serve_datagrams(Arc::new(datagrams)));
        tasks.spawn(shared.serve_streams(streams));
        Ok(Self {
            port,
            guests,
            _tasks: tasks,
        })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Adds the guest of a slot. Answers open addresses in `set`, which keeps the slot until the guest is dismissed.
    pub(crate) fn admit(&self, slot: u16, names: Names, set: Option<AnsweredSet>) {
        let guest = Guest {
            names,
            openings: set.map(Openings::new),
            questions: Own::new(QUESTIONS_OF_ONE),
            streams: Own::new(STREAMS_OF_ONE),
        };
        self.guests.lock().insert(slot, Arc::new(guest));
    }

    /// Removes the guest of a slot, and releases the slot.
    pub(crate) fn dismiss(&self, slot: u16) {
        self.guests.lock().remove(&slot);
    }
}

impl Guests {
    fn lock(&self) -> MutexGuard<'_, HashMap<u16, Arc<Guest>>> {
        self.by_slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn at(&self, address: SocketAddr) -> Option<Arc<Guest>> {
        let SocketAddr::V4(address) = address else {
            return None;
        };
        let slot = addresses::slot_of(*address.ip())?;
        self.lock().get(&slot).cloned()
    }
}

#[derive(Debug, Clone)]
struct Shared {
    guests: Arc<Guests>,
    upstream: Arc<Upstream>,
    questions: Arc<Semaphore>,
    streams: Arc<Semaphore>,
}

/// The places of one guest.
#[derive(Debug)]
struct Own {
    places: Arc<Semaphore>,
    max: usize,
}

/// A place of all guests and of one guest. Dropping it frees both.
#[derive(Debug)]
struct Place {
    _of_all: OwnedSemaphorePermit,
    _of_one: OwnedSemaphorePermit,
}

impl Own {
    fn new(max: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(max)),
            max,
        }
    }

    /// Takes a place, unless the guest has as many as it may, or too large a share of the free ones.
    fn take(&self, of_all: &Arc<Semaphore>) -> Option<Place> {
        let taken = self.max - self.places.available_permits();
        if taken * SHARE_OF_FREE >= of_all.available_permits() {
            return None;
        }
        Some(Place {
            _of_one: Arc::clone(&self.places).try_acquire_owned().ok()?,
            _of_all: Arc::clone(of_all).try_acquire_owned().ok()?,
        })
    }
}

impl Shared {
    async fn serve_datagrams(self, socket: Arc<UdpSocket>) {
        let mut buffer = vec![0; DATAGRAM_BYTES];
        let mut answers = JoinSet::new();
        loop {
            while answers.try_join_next().is_some() {}
            // The error is that of an earlier send, for example to a guest that is gone.
            let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
                continue;
            };
            let Some(guest) = self.guests.at(from) else {
                continue;
            };
            // If there is no place, the guest asks again.
            let Some(place) = guest.questions.take(&self.questions) else {
                continue;
            };
            let (shared, socket) = (self.clone(), Arc::clone(&socket));
            let question = buffer[..length].to_vec();
            answers.spawn(async move {
                if let Some(answer) = shared.answer(&guest, question, false).await {
                    let _ = socket.send_to(&answer, from).await;
                }
                drop(place);
            });
        }
    }

    async fn serve_streams(self, listener: TcpListener) {
        let mut streams = JoinSet::new();
        loop {
            while streams.try_join_next().is_some() {}
            let Ok((stream, from)) = listener.accept().await else {
                // Out of descriptors: some will be freed.
                time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let Some(guest) = self.guests.at(from) else {
                continue;
            };
            let Some(place) = guest.streams.take(&self.streams) else {
                continue;
            };
            let shared = self.clone();
            streams.spawn(async move {
                // A guest that disconnects needs no error.
                let _ = shared.serve_stream(&guest, stream).await;
                drop(place);
            });
        }
    }

    /// Answers one question after the other, each after its length (RFC 1035 section 4.2.2). If there is no place for
    /// a question, the stream ends, and the guest asks again.
    async fn serve_stream(&self, guest: &Guest, mut stream: TcpStream) -> io::Result<()> {
        loop {
            let length = time::timeout(TCP_IDLE, stream.read_u16()).await??;
            let mut question = vec![0; usize::from(length)];
            time::timeout(TCP_IDLE, stream.read_exact(&mut question)).await??;
            let Some(place) = guest.questions.take(&self.questions) else {
                return Ok(());
            };
            let answer = self.answer(guest, question, true).await;
            drop(place);
            let Some(answer) = answer else {
                return Ok(());
            };
            let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
            let mut framed = length.to_be_bytes().to_vec();
            framed.extend(answer);
            time::timeout(TCP_IDLE, stream.write_all(&framed)).await??;
        }
    }

    /// The answer to a message. `None` if the message is not a question, or no server answers.
    async fn answer(&self, guest: &Guest, message: Vec<u8>, is_stream: bool) -> Option<Vec<u8>> {
        let question = Question::read(message)?;
        if !guest.names.allow(&question.name) {
            return Some(question.refusal());
        }
        let answer = match self.upstream.ask(&question, is_stream).await {
            Ok(answer) => answer,
            Err(error) => {
                tracing::debug!(%error, "no name server answered");
                return Some(question.failure());
            }
        };
        if let Some(openings) = &guest.openings {
            let addresses = message::addresses(&answer, &question.name);
            if let Err(error) = openings.open(&addresses).await {
                tracing::warn!(%error, "the addresses of an answer could not be opened");
                return Some(question.failure());
            }
        }
        Some(answer)
    }
}

async fn listen(port: u16) -> io::Result<(u16, UdpSocket, TcpListener)> {
    let datagrams = UdpSocket::bind((addresses::HOST, port)).await?;
    let streams = TcpListener::bind((addresses::HOST, port)).await?;
    Ok((port, datagrams, streams))
}

/// Listens on the port of the previous resolver, which may still be shutting down.
async fn listen_again(port: u16) -> io::Result<(u16, UdpSocket, TcpListener)> {
    let deadline = time::Instant::now() + PREDECESSOR;
    loop {
        match listen(port).await {
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse && time::Instant::now() < deadline =>
            {
                time::sleep(PREDECESSOR / 100).await;
            }
            other => return other,
        }
    }
}

async fn listen_anywhere() -> io::Result<(u16, UdpSocket, TcpListener)> {
    let mut last = io::ErrorKind::AddrInUse.into();
    for port in addresses::RESOLVER_PORTS {
        match listen(port).await {
            Ok(listening) => return Ok(listening),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests;
