//! The guest that a request comes from.

mod metadata;

use hearth_control::id::{AccountId, MicrovmId};

use crate::route::Service;

pub(crate) use metadata::Metadata;

/// The microVM behind a [`GuestDoor`](crate::GuestDoor).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Guest {
    pub(crate) microvm: MicrovmId,
    /// The account that owns the microVM.
    pub(crate) account: AccountId,
}

impl Guest {
    pub(crate) const CLOSED: &str = "This cannot be done from inside a MicroVM.";
    pub(crate) const FOREIGN: &str = "A MicroVM reaches the services of its own account only.";

    /// Whether guests may ask a service. Each of these services has a list of operations for guests.
    pub(crate) fn may_ask(service: Service) -> bool {
        matches!(service, Service::S3 | Service::Logs | Service::Sts)
    }
}
