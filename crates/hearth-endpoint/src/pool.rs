//! Connections into one microVM that are open and free, by port.
//!
//! A connection belongs to an epoch: none survives a resume, so what is older than the newest epoch is dropped.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use hyper::client::conn::{http1, http2};

use crate::lock::lock;
use crate::upload::Upload;

/// Free connections kept for one port; more would only be closed by the application one by one.
const MAX_IDLE: usize = 32;

/// How long a free connection is kept. Application servers close idle ones after 2-5 seconds, and one that serves a
/// connection at a time serves nobody else as long as it is open: a new one costs far less than either.
const IDLE_TIME: Duration = Duration::from_millis(500);

/// The same while somebody waits for a first answer on a new connection: the application may be such a one.
const CONTENDED_TIME: Duration = Duration::from_millis(50);

/// How often free connections are looked at while there are any.
pub(crate) const PRUNE_INTERVAL: Duration = Duration::from_millis(50);

/// How the application behind a port wants to be spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    Plain,
    Tls,
}

/// A microVM at one time between two resumes, and one of its ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) epoch: u64,
    pub(crate) port: u16,
}

#[derive(Default)]
pub(crate) struct Pool(Mutex<Ports>);

#[derive(Default)]
struct Ports {
    epoch: u64,
    ports: HashMap<u16, Port>,
}

#[derive(Default)]
struct Port {
    wire: Option<Wire>,
    /// The one used last is at the end.
    idle: Vec<Idle>,
    h2: Option<http2::SendRequest<Upload>>,
    /// Requests on new connections that have no answer yet.
    waiting: usize,
    /// Whether somebody calls [`Pool::prune`] from time to time.
    has_pruner: bool,
}

struct Idle {
    sender: http1::SendRequest<Upload>,
    since: Instant,
}

impl Pool {
    /// The free connection that was used last.
    pub(crate) fn take_h1(&self, place: Place) -> Option<http1::SendRequest<Upload>> {
        self.at(place, |port| {
            port.prune();
            port.idle.pop().map(|newest| newest.sender)
        })?
    }

    /// Gives a connection back that is ready for the next request. Answers whether the caller has to see to it that
    /// [`Pool::prune`] is called.
    #[must_use]
    pub(crate) fn put_h1(&self, place: Place, sender: http1::SendRequest<Upload>) -> bool {
        let put = self.at(place, |port| {
            port.prune();
            if port.idle.len() < MAX_IDLE {
                port.idle.push(Idle {
                    sender,
                    since: Instant::now(),
                });
            }
            !std::mem::replace(&mut port.has_pruner, true)
        });
        put.unwrap_or(false)
    }

    /// Closes what has been free for too long; answers whether there is still something free.
    pub(crate) fn prune(&self, place: Place) -> bool {
        let pruned = self.at(place, |port| {
            port.prune();
            port.has_pruner = !port.idle.is_empty();
            port.has_pruner
        });
        pruned.unwrap_or(false)
    }

    /// Counts a request that waits for an answer on a new connection, until what is returned is dropped.
    pub(crate) fn wait(&self, place: Place) -> Waiting<'_> {
        self.at(place, |port| port.waiting += 1);
        Waiting { pool: self, place }
    }

    /// The connection that all HTTP/2 requests to a port share.
    pub(crate) fn h2(&self, place: Place) -> Option<http2::SendRequest<Upload>> {
        self.at(place, |port| {
            port.h2.take_if(|sender| sender.is_closed());
            port.h2.clone()
        })?
    }

    pub(crate) fn put_h2(&self, place: Place, sender: http2::SendRequest<Upload>) {
        self.at(place, |port| port.h2 = Some(sender));
    }

    pub(crate) fn wire(&self, place: Place) -> Option<Wire> {
        self.at(place, |port| port.wire)?
    }

    pub(crate) fn set_wire(&self, place: Place, wire: Option<Wire>) {
        self.at(place, |port| port.wire = wire);
    }

    /// Nothing is done for an epoch that is over.
    fn at<T>(&self, place: Place, act: impl FnOnce(&mut Port) -> T) -> Option<T> {
        let mut ports = lock(&self.0);
        if place.epoch < ports.epoch {
            return None;
        }
        if place.epoch > ports.epoch {
            *ports = Ports {
                epoch: place.epoch,
                ports: HashMap::new(),
            };
        }
        Some(act(ports.ports.entry(place.port).or_default()))
    }
}

impl Port {
    fn prune(&mut self) {
        let limit = if self.waiting > 0 {
            CONTENDED_TIME
        } else {
            IDLE_TIME
        };
        self.idle
            .retain(|idle| idle.sender.is_ready() && idle.since.elapsed() < limit);
    }
}

/// A request that waits for an answer on a new connection.
pub(crate) struct Waiting<'a> {
    pool: &'a Pool,
    place: Place,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        // Another epoch has begun to count anew.
        self.pool.at(self.place, |port| {
            port.waiting = port.waiting.saturating_sub(1);
        });
    }
}
