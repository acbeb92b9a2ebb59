//! An instance as its host sees it: one guest, which is launched, suspended, resumed, forked and called.
//!
//! It knows no hook, no endpoint and no AWS. What it is for is known by the controller above it, here the owner of a microVM: that
//! says when it sleeps, and which calls of its application come before and after.

use std::fmt;
use std::str::FromStr;

use crate::arn::{ConnectorRef, Scope};
use crate::id::{AccountId, IdError, MicrovmId};
use crate::time::Timestamp;

/// Names an instance by what it is for. Its text is its name on the host, too.
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
    /// Its name.
    pub id: InstanceId,
    /// Who owns it.
    pub account: AccountId,
    /// The ways out of it.
    pub egress: Vec<ConnectorRef>,
    /// Where the output of its application goes.
    pub output: OutputPlace,
}

/// The log stream of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputPlace {
    /// Whose groups and streams they are.
    pub scope: Scope,
    /// The group, unless `logging` names another one.
    pub group: String,
    /// The version in the stream's name, of what the instance is for.
    pub version: String,
    /// What was asked for.
    pub logging: Option<Logging>,
    /// The day in the stream's name.
    pub begun_at: Timestamp,
}

/// Where the output of an application goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Logging {
    /// Nowhere.
    Disabled,
    /// To a log group.
    CloudWatch {
        /// The group; `None` is the default group of the image.
        group: Option<String>,
        /// The stream; `None` is the default stream of the microVM.
        stream: Option<String>,
    },
}
