//! A request on its way to the service that answers it.

use std::net::IpAddr;

use bytes::Bytes;
use http::request::Parts;
use hyper::body::Incoming;

use crate::guest::Guest;
use crate::identity::Caller;
use crate::sigv4::BodyClaim;

/// Where a request came in.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Origin {
    /// The listener, from this address.
    Listener(IpAddr),
    /// The door of a guest.
    Guest(Guest),
}

impl Origin {
    /// The guest, if it is one.
    pub(crate) fn guest(self) -> Option<Guest> {
        match self {
            Self::Listener(_) => None,
            Self::Guest(guest) => Some(guest),
        }
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Listener(address) => address.fmt(f),
            Self::Guest(guest) => guest.microvm.fmt(f),
        }
    }
}

/// A request whose signature has been verified.
pub(crate) struct Call {
    pub(crate) caller: Caller,
    pub(crate) origin: Origin,
    pub(crate) request_id: String,
    pub(crate) head: Parts,
    pub(crate) body: Bytes,
    /// A body that was not read yet; `body` is empty then.
    pub(crate) upload: Option<Upload>,
}

/// The body of a request whose head has been verified.
pub(crate) struct Upload {
    pub(crate) body: Incoming,
    pub(crate) claim: BodyClaim,
}
