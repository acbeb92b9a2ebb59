//! The name server of all guests: asks the host's own, for the names that a guest may know.
//!
//! A guest's questions arrive here from the address of its slot, which says whose they are. They go on with an id and a
//! spelling that the guest does not know, so that it cannot help anybody to forge an answer. With a list of names, an
//! answer first opens the addresses in it that belong to the name, and then goes to the guest.
//!
//! Guests share places for questions under way, and for streams. A place for a question is held only while it is answered.
//! The fewer places are free, the fewer one guest may have, so that no number of busy guests keeps another one from asking.

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

/// Largest message over UDP that is read; questions are far smaller.
const DATAGRAM_BYTES: usize = 4096;

/// Questions under way at the same time: of all guests, and of one. Each has a socket of its own.
const QUESTIONS_MAX: usize = 512;
const QUESTIONS_OF_ONE: usize = 32;

/// TCP connections at the same time: of all guests, and of one. A guest's own resolver has one or two.
const STREAMS_MAX: usize = 512;
const STREAMS_OF_ONE: usize = 8;

/// A guest gets another place as long as it has fewer than this fraction of those that are free. With a quarter, a hundred
/// guests that take what they can get leave some twenty places free, and any number of them leaves four.
const SHARE_OF_FREE: usize = 4;

/// How long a guest's TCP connection may be silent.
const TCP_IDLE: Duration = Duration::from_secs(10);

/// How long a resolver that ended may take to let its port go.
const PREDECESSOR: Duration = Duration::from_secs(2);

/// Answers the guests of one host until it is dropped.
#[derive(Debug)]
pub(crate) struct Resolver {
    port: u16,
    guests: Arc<Guests>,
    _tasks: JoinSet<()>,
}

/// Who may ask what.
#[derive(Debug, Default)]
struct Guests {
    by_slot: Mutex<HashMap<u16, Arc<Guest>>>,
}

#[derive(Debug)]
struct Guest {
    names: Names,
    /// What answers have opened, if they open anything.
    openings: Option<Openings>,
    questions: Own,
    streams: Own,
}

impl Resolver {
    /// Listens on the host's end of all slots: at the port that the rules of running guests name already, or at the
    /// first that is free.
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

    /// Lets a slot's guest ask. The set is where answers open addresses. It keeps the slot until the guest is dismissed.
    pub(crate) fn admit(&self, slot: u16, names: Names, set: Option<AnsweredSet>) {
        let guest = Guest {
            names,
            openings: set.map(Openings::new),
            questions: Own::new(QUESTIONS_OF_ONE),
            streams: Own::new(STREAMS_OF_ONE),
        };
        self.guests.lock().insert(slot, Arc::new(guest));
    }

    /// Forgets a slot, and lets it go.
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

/// A place among all guests and among those of one; given back when dropped.
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

    /// A place, unless the guest has as many as it may, or too large a share of what all have.
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
            // What fails here is an earlier send, for example to a guest that is gone.
            let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
                continue;
            };
            let Some(guest) = self.guests.at(from) else {
                continue;
            };
            // Without a place the guest asks again.
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
                // Out of descriptors: some will be given back.
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
                // A guest that breaks off has no use for an error.
                let _ = shared.serve_stream(&guest, stream).await;
                drop(place);
            });
        }
    }

    /// One question after the other, each behind its length (RFC 1035 section 4.2.2). A question without a place ends the
    /// stream: the guest asks again.
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

    /// The answer to a message; `None` to what is no question, or when no server answers.
    async fn answer(&self, guest: &Guest, message: Vec<u8>, is_stream: bool) -> Option<Vec<u8>> {
        let question = Question::read(message)?;
        if !guest.names.allow(&question.name) {
            return Some(question.refusal());
        }
        let answer = match self.upstream.ask(&question, is_stream).await {
            Ok(answer) => answer,
            Err(error) => {
                tracing::debug!(%error, "no name server answers");
                return Some(question.failure());
            }
        };
        if let Some(openings) = &guest.openings {
            let addresses = message::addresses(&answer, &question.name);
            if let Err(error) = openings.open(&addresses).await {
                tracing::warn!(%error, "what was answered could not be opened");
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

/// Listens where the resolver before this one did, which may still be on its way out.
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
