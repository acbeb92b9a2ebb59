//! A guest as whoever it asks knows it.

mod metadata;

use hearth_control::id::{AccountId, MicrovmId};

use crate::route::Service;

pub(crate) use metadata::Metadata;

/// A microVM at its door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Guest {
    pub(crate) microvm: MicrovmId,
    /// Whose it is.
    pub(crate) account: AccountId,
}

impl Guest {
    pub(crate) const CLOSED: &str = "This cannot be done from inside a MicroVM.";
    pub(crate) const FOREIGN: &str = "A MicroVM reaches the services of its own account only.";

    /// The services that a guest reaches; each has a list of operations of its own.
    pub(crate) fn may_ask(service: Service) -> bool {
        matches!(service, Service::S3 | Service::Logs | Service::Sts)
    }
}
