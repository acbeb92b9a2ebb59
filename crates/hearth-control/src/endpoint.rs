//! Names of microVM endpoints: how they are formed, and which are in use.

use std::collections::HashSet;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};

use crate::fair_share::FairShare;
use crate::id::{AccountId, EndpointId};

/// The form of an endpoint's name as callers see it: a host, with a port or without one, never a scheme.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndpointScheme {
    /// `<host>:<port>`: works with every client and without DNS.
    Ports {
        /// The host, such as `127.0.0.1`.
        host: String,
        /// The ports that may be assigned.
        ports: RangeInclusive<u16>,
    },
    /// `<endpoint id>.<domain>`.
    Domain(String),
}

/// The endpoint names in use by living microVMs.
#[derive(Debug)]
pub(crate) struct EndpointNames {
    scheme: EndpointScheme,
    taken: Mutex<Taken>,
}

#[derive(Debug)]
struct Taken {
    names: HashSet<String>,
    /// How many ports each account has. Names under a domain are unlimited.
    share: FairShare,
    /// Where the search for a free port continues, counted from the first port. A port that was just freed comes
    /// last, so that late clients of its former microVM do not reach a new one.
    next: usize,
}

/// An endpoint name in use. Dropping it frees the name.
#[derive(Debug)]
pub(crate) struct EndpointLease {
    name: String,
    account: AccountId,
    names: Arc<EndpointNames>,
}

impl EndpointNames {
    pub(crate) fn new(scheme: EndpointScheme) -> Arc<Self> {
        let places = match &scheme {
            EndpointScheme::Ports { ports, .. } => ports.len() as u64,
            EndpointScheme::Domain(_) => u64::MAX,
        };
        let taken = Taken {
            names: HashSet::new(),
            share: FairShare::new(places, 1),
            next: 0,
        };
        Arc::new(Self {
            scheme,
            taken: Mutex::new(taken),
        })
    }

    /// Assigns a name to a new microVM of an account. `None` if every port is in use, or if the last one is reserved
    /// for another account. `accounts` is the number of accounts.
    pub(crate) fn assign(
        self: &Arc<Self>,
        account: AccountId,
        id: EndpointId,
        accounts: usize,
    ) -> Option<EndpointLease> {
        let mut taken = self.lock();
        if !taken.share.admits(account, 1, accounts) {
            return None;
        }
        let name = match &self.scheme {
            EndpointScheme::Domain(domain) => format!("{id}.{domain}"),
            EndpointScheme::Ports { host, ports } => taken.free_port(host, ports)?,
        };
        Some(self.lease(&mut taken, account, name))
    }

    /// Takes the name that a microVM has from before a restart.
    pub(crate) fn hold(self: &Arc<Self>, account: AccountId, name: String) -> EndpointLease {
        self.lease(&mut self.lock(), account, name)
    }

    fn lease(
        self: &Arc<Self>,
        taken: &mut Taken,
        account: AccountId,
        name: String,
    ) -> EndpointLease {
        taken.names.insert(name.clone());
        taken.share.take(account, 1);
        EndpointLease {
            name,
            account,
            names: Arc::clone(self),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn free_port(&mut self, host: &str, ports: &RangeInclusive<u16>) -> Option<String> {
        for offset in 0..ports.len() {
            let place = (self.next + offset) % ports.len();
            let port = ports.clone().nth(place)?;
            let name = format!("{host}:{port}");
            if !self.names.contains(&name) {
                self.next = place + 1;
                return Some(name);
            }
        }
        None
    }
}

impl Drop for EndpointLease {
    fn drop(&mut self) {
        let mut taken = self.names.lock();
        taken.names.remove(&self.name);
        taken.share.give_back(self.account, 1);
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
        let assign = || names.assign(AccountId::FIRST, EndpointId::generate(), 1);
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
        let _held = names.hold(AccountId::FIRST, "h:1".to_owned());
        let next = names.assign(AccountId::FIRST, EndpointId::generate(), 1);
        assert_eq!(next.unwrap().to_string(), "h:2");
    }

    /// Security finding M8: one account takes all ports of the loopback, and nobody else can launch anything.
    #[test]
    fn the_last_port_is_for_an_account_that_has_none() {
        let scheme = EndpointScheme::Ports {
            host: "h".to_owned(),
            ports: 1..=4,
        };
        let names = EndpointNames::new(scheme);
        let assign = |account| names.assign(account, EndpointId::generate(), 2);
        let other = AccountId::from_number(1).unwrap();
        let greedy: Vec<_> = std::iter::from_fn(|| assign(AccountId::FIRST)).collect();
        assert_eq!(greedy.len(), 3);
        let late = assign(other);
        assert!(late.is_some());
        drop(greedy);
        assert!(assign(AccountId::FIRST).is_some());
    }
}
