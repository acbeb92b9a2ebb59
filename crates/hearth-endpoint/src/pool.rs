//! Connections into one microVM that are open and free, by port.
//!
//! A connection belongs to an epoch: none survives a resume, so what is older than the newest epoch is dropped.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use hyper::client::conn::{http1, http2};

use crate::lane::lock;
use crate::upload::Upload;

/// Free connections kept for one port; more would only be closed by the application one by one.
const MAX_IDLE: usize = 32;

/// Application servers close idle connections after 2-5 seconds. Staying below spares most of the races.
const IDLE_TIME: Duration = Duration::from_secs(2);

/// A request that cannot be repeated only goes on a connection that was used just now.
const FRESH_TIME: Duration = Duration::from_millis(500);

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
}

struct Idle {
    sender: http1::SendRequest<Upload>,
    since: Instant,
}

impl Pool {
    /// A free connection for a request that can or cannot be sent again if the connection turns out to be closed.
    pub(crate) fn take_h1(
        &self,
        place: Place,
        is_repeatable: bool,
    ) -> Option<http1::SendRequest<Upload>> {
        let limit = if is_repeatable { IDLE_TIME } else { FRESH_TIME };
        self.at(place, |port| {
            port.idle.retain(Idle::is_usable);
            let newest = port.idle.pop_if(|idle| idle.since.elapsed() < limit)?;
            Some(newest.sender)
        })?
    }

    /// Gives a connection back that is ready for the next request.
    pub(crate) fn put_h1(&self, place: Place, sender: http1::SendRequest<Upload>) {
        self.at(place, |port| {
            port.idle.retain(Idle::is_usable);
            if port.idle.len() < MAX_IDLE {
                port.idle.push(Idle {
                    sender,
                    since: Instant::now(),
                });
            }
        });
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

impl Idle {
    fn is_usable(&self) -> bool {
        self.sender.is_ready() && self.since.elapsed() < IDLE_TIME
    }
}
