//! Open idle connections into one microVM, by port.
//!
//! A connection belongs to an epoch. None survives a resume, so connections older than the newest epoch are dropped.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use hyper::client::conn::{http1, http2};

use crate::lock::lock;
use crate::upload::Upload;

/// Idle connections kept for one port. The application would close more of them one by one.
const MAX_IDLE: usize = 32;

/// How long an idle connection is kept. Application servers close idle ones after 2-5 seconds, and a server that
/// handles one connection at a time serves nobody else while it is open. A new connection costs far less than either.
const IDLE_TIME: Duration = Duration::from_millis(500);

/// The same while a request waits for its answer on a new connection: the application may handle one connection at a
/// time.
const CONTENDED_TIME: Duration = Duration::from_millis(50);

/// How often idle connections are checked while there are any.
pub(crate) const PRUNE_INTERVAL: Duration = Duration::from_millis(50);

/// The protocol that the application on a port speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    Plain,
    Tls,
}

/// A port of a microVM in one epoch: the time between two resumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PortKey {
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
    /// Whether a task calls [`Pool::prune`] at intervals.
    has_pruner: bool,
}

struct Idle {
    sender: http1::SendRequest<Upload>,
    since: Instant,
}

impl Pool {
    /// Takes the idle connection that was used last.
    pub(crate) fn take_h1(&self, key: PortKey) -> Option<http1::SendRequest<Upload>> {
        self.at(key, |port| {
            port.prune();
            port.idle.pop().map(|newest| newest.sender)
        })?
    }

    /// Returns a connection that is ready for the next request. Returns true if the caller has to start calling
    /// [`Pool::prune`] at intervals.
    #[must_use]
    pub(crate) fn put_h1(&self, key: PortKey, sender: http1::SendRequest<Upload>) -> bool {
        let put = self.at(key, |port| {
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

    /// Closes connections that were idle for too long. Returns whether any idle ones are left.
    pub(crate) fn prune(&self, key: PortKey) -> bool {
        let pruned = self.at(key, |port| {
            port.prune();
            port.has_pruner = !port.idle.is_empty();
            port.has_pruner
        });
        pruned.unwrap_or(false)
    }

    /// Counts a request that waits for its answer on a new connection, until the result is dropped.
    pub(crate) fn wait(&self, key: PortKey) -> Waiting<'_> {
        self.at(key, |port| port.waiting += 1);
        Waiting { pool: self, key }
    }

    /// The connection that all HTTP/2 requests to a port share.
    pub(crate) fn h2(&self, key: PortKey) -> Option<http2::SendRequest<Upload>> {
        self.at(key, |port| {
            port.h2.take_if(|sender| sender.is_closed());
            port.h2.clone()
        })?
    }

    pub(crate) fn put_h2(&self, key: PortKey, sender: http2::SendRequest<Upload>) {
        self.at(key, |port| port.h2 = Some(sender));
    }

    pub(crate) fn wire(&self, key: PortKey) -> Option<Wire> {
        self.at(key, |port| port.wire)?
    }

    pub(crate) fn set_wire(&self, key: PortKey, wire: Option<Wire>) {
        self.at(key, |port| port.wire = wire);
    }

    /// No-op for an epoch that is over.
    fn at<T>(&self, key: PortKey, act: impl FnOnce(&mut Port) -> T) -> Option<T> {
        let mut ports = lock(&self.0);
        if key.epoch < ports.epoch {
            return None;
        }
        if key.epoch > ports.epoch {
            *ports = Ports {
                epoch: key.epoch,
                ports: HashMap::new(),
            };
        }
        Some(act(ports.ports.entry(key.port).or_default()))
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
    key: PortKey,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        // A new epoch has started a new count.
        self.pool.at(self.key, |port| {
            port.waiting = port.waiting.saturating_sub(1);
        });
    }
}
