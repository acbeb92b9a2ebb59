//! An instance as its host sees it: one guest, which is launched, suspended, resumed, forked and called.
//!
//! An instance knows no hook, no endpoint and no AWS. The controller above knows what the instance is for; here that
//! is the owner of a microVM. The controller decides when the instance sleeps, and which guest calls come before and
//! after.

use std::fmt;
use std::str::FromStr;

use crate::arn::{ConnectorRef, Scope};
use crate::id::{AccountId, IdError, MicrovmId};
use crate::time::Timestamp;

/// The id of an instance, by its purpose. Its text is the instance's name on the host, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum InstanceId {
    /// The instance of a microVM.
    Microvm(MicrovmId),
}

impl From<MicrovmId> for InstanceId {
    fn from(id: MicrovmId) -> Self {
        Self::Microvm(id)
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Microvm(id) => id.fmt(f),
        }
    }
}

impl FromStr for InstanceId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        text.parse().map(Self::Microvm)
    }
}

/// What a host has to know of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// The id of the instance.
    pub id: InstanceId,
    /// The account that owns the instance.
    pub account: AccountId,
    /// The egress connectors.
    pub egress: Vec<ConnectorRef>,
    /// Where the output of the application goes.
    pub output: OutputPlace,
}

/// The log stream of an instance, and what its name is formed from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputPlace {
    /// The account and region that own the log group.
    pub scope: Scope,
    /// The group, unless `logging` names another one.
    pub group: String,
    /// The version in the stream's name: that of the image, for a microVM.
    pub version: String,
    /// The logging that the caller asked for.
    pub logging: Option<Logging>,
    /// The time whose day is in the stream's name.
    pub begun_at: Timestamp,
}

/// Where the output of an application goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Logging {
    /// The output is dropped.
    Disabled,
    /// The output goes to a log group.
    CloudWatch {
        /// The group. `None` is the default group of the image.
        group: Option<String>,
        /// The stream. `None` is the default stream of the microVM.
        stream: Option<String>,
    },
}
