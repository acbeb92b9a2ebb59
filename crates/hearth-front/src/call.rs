//! A verified request on its way to the service that answers it.

use std::net::IpAddr;

use bytes::Bytes;
use http::request::Parts;
use hyper::body::Incoming;
use tokio::sync::OwnedSemaphorePermit;

use crate::guest::Guest;
use crate::identity::Caller;
use crate::sigv4::BodyClaim;

/// Where a request came from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum CallOrigin {
    /// The API's listener, and the client's address.
    Listener(IpAddr),
    /// A guest, through its [`GuestDoor`](crate::GuestDoor).
    Guest(Guest),
}

impl CallOrigin {
    /// The guest, if the request came from one.
    pub(crate) fn guest(self) -> Option<Guest> {
        match self {
            Self::Listener(_) => None,
            Self::Guest(guest) => Some(guest),
        }
    }
}

impl std::fmt::Display for CallOrigin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Listener(address) => address.fmt(f),
            Self::Guest(guest) => guest.microvm.fmt(f),
        }
    }
}

/// An extension of requests that came by TLS.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IsEncrypted;

/// A request whose signature has been verified.
pub(crate) struct Call {
    pub(crate) caller: Caller,
    pub(crate) origin: CallOrigin,
    pub(crate) request_id: String,
    pub(crate) head: Parts,
    pub(crate) body: Bytes,
    /// What a large body holds until it is answered.
    pub(crate) place: Option<OwnedSemaphorePermit>,
    /// The body of an upload, which is not read yet. `body` is empty then.
    pub(crate) upload: Option<Upload>,
}

/// The unread body of a request whose head is verified.
pub(crate) struct Upload {
    pub(crate) body: Incoming,
    pub(crate) claim: BodyClaim,
}
