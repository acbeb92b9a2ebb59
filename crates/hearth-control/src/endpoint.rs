//! How the endpoints of microVMs are named, and which names are taken.

use std::collections::HashSet;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};

use crate::id::EndpointId;

/// What an endpoint looks like to callers: a host, perhaps a port, and never a scheme.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndpointScheme {
    /// `<host>:<port>`: works with every client and without DNS.
    Ports {
        /// The host, such as `127.0.0.1`.
        host: String,
        /// The ports to give out.
        ports: RangeInclusive<u16>,
    },
    /// `<endpoint id>.<domain>`.
    Domain(String),
}

/// The names that living microVMs have.
#[derive(Debug)]
pub(crate) struct EndpointNames {
    scheme: EndpointScheme,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    names: HashSet<String>,
    /// Where the search for a free port goes on, counted from the first. A port that was just given back
    /// comes last, so that a late client of its former owner meets nobody for as long as possible.
    next: usize,
}

/// A name in use; given back when dropped.
#[derive(Debug)]
pub(crate) struct EndpointLease {
    name: String,
    names: Arc<EndpointNames>,
}

impl EndpointNames {
    pub(crate) fn new(scheme: EndpointScheme) -> Arc<Self> {
        Arc::new(Self {
            scheme,
            taken: Mutex::default(),
        })
    }

    /// A name for a new microVM; `None` when every port is taken.
    pub(crate) fn assign(self: &Arc<Self>, id: EndpointId) -> Option<EndpointLease> {
        let name = match &self.scheme {
            EndpointScheme::Domain(domain) => format!("{id}.{domain}"),
            EndpointScheme::Ports { host, ports } => self.free_port(host, ports)?,
        };
        Some(self.hold(name))
    }

    /// The name that a microVM has from before a restart.
    pub(crate) fn hold(self: &Arc<Self>, name: String) -> EndpointLease {
        self.lock().names.insert(name.clone());
        EndpointLease {
            name,
            names: Arc::clone(self),
        }
    }

    fn free_port(&self, host: &str, ports: &RangeInclusive<u16>) -> Option<String> {
        let mut taken = self.lock();
        for offset in 0..ports.len() {
            let place = (taken.next + offset) % ports.len();
            let port = ports.clone().nth(place)?;
            let name = format!("{host}:{port}");
            if taken.names.insert(name.clone()) {
                taken.next = place + 1;
                return Some(name);
            }
        }
        None
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for EndpointLease {
    fn drop(&mut self) {
        self.names.lock().names.remove(&self.name);
    }
}

impl fmt::Display for EndpointLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_unique_and_come_back_last() {
        let scheme = EndpointScheme::Ports {
            host: "127.0.0.1".to_owned(),
            ports: 100..=102,
        };
        let names = EndpointNames::new(scheme);
        let assign = || names.assign(EndpointId::generate());
        let first = assign().unwrap();
        assert_eq!(first.to_string(), "127.0.0.1:100");
        drop(first);
        let leases: Vec<_> = std::iter::from_fn(assign).collect();
        let texts: Vec<_> = leases.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["127.0.0.1:101", "127.0.0.1:102", "127.0.0.1:100"]);
    }

    #[test]
    fn a_name_from_before_a_restart_is_not_given_again() {
        let scheme = EndpointScheme::Ports {
            host: "h".to_owned(),
            ports: 1..=2,
        };
        let names = EndpointNames::new(scheme);
        let _held = names.hold("h:1".to_owned());
        assert_eq!(
            names.assign(EndpointId::generate()).unwrap().to_string(),
            "h:2"
        );
    }
}
