//! The contents of a token.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::MicrovmId;

/// Longest lifetime of a token, as on AWS.
pub const MAX_LIFETIME: Duration = Duration::from_secs(60 * 60);

/// Most port ranges in one token. More would not fit the 8000 bytes that the API allows a token to have.
pub(super) const MAX_RANGES: usize = 256;

/// What a token gives access to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Ports of the application.
    Ports(Vec<RangeInclusive<u16>>),
    /// The shell.
    Shell,
}

impl Access {
    /// Whether the grant includes this port of the application.
    #[must_use]
    pub fn opens(&self, port: u16) -> bool {
        match self {
            Self::Ports(ranges) => ranges.iter().any(|range| range.contains(&port)),
            Self::Shell => false,
        }
    }
}

/// The rights of a token's bearer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The microVM that the token is bound to.
    pub microvm: MicrovmId,
    /// What the token gives access to.
    pub access: Access,
}

/// The encrypted form of a [`Grant`]. Member names are short because every request carries them.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Claims {
    /// The microVM.
    pub(super) sub: MicrovmId,
    /// The expiry time, in seconds since 1970.
    pub(super) exp: u64,
    /// First and last port of each range. `None` for the shell.
    pub(super) ports: Option<Vec<(u16, u16)>>,
}

impl Claims {
    pub(super) fn new(grant: &Grant, exp: u64) -> Self {
        let ports = match &grant.access {
            Access::Ports(ranges) => Some(
                ranges
                    .iter()
                    .map(|range| (*range.start(), *range.end()))
                    .collect(),
            ),
            Access::Shell => None,
        };
        Self {
            sub: grant.microvm,
            exp,
            ports,
        }
    }

    pub(super) fn into_grant(self) -> Grant {
        let access = match self.ports {
            Some(ports) => Access::Ports(ports.into_iter().map(|(a, b)| a..=b).collect()),
            None => Access::Shell,
        };
        Grant {
            microvm: self.sub,
            access,
        }
    }
}
