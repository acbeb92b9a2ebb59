//! What a version of a function is configured to be, and its state.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The configuration of one version. Stored as JSON under these names: a member that is added needs a default, and none
/// is renamed (`tests.rs` holds a stored one).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configuration {
    /// One of [`crate::RUNTIMES`].
    pub runtime: String,
    /// What the runtime calls.
    pub handler: String,
    /// The ARN of the execution role.
    pub role: String,
    /// The customer's description. Empty if there is none.
    pub description: String,
    /// Longest invocation, in seconds.
    pub timeout_s: u32,
    /// Memory in MB, by which the processor share goes.
    pub memory_mb: u32,
    /// Size of `/tmp` in MB.
    pub ephemeral_storage_mb: u32,
    /// The instruction sets: one.
    pub architectures: Vec<String>,
    /// Environment variables. `None` if none were ever sent, which answers tell from an empty map.
    pub environment: Option<BTreeMap<String, String>>,
    /// Layers, in the order in which they are laid over each other.
    pub layers: Vec<LayerUse>,
    /// Where and how logs are written.
    pub logging: Logging,
    /// Whether trace headers are sampled.
    pub tracing: TracingMode,
    /// Whether an environment serves one tenant alone for its life.
    pub is_tenant_isolated: bool,
}

/// A layer version in a configuration. It goes on when the layer version is deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerUse {
    /// The ARN with the version.
    pub arn: String,
    /// The digest of the zip: lower-case hex.
    pub sha256: String,
    /// Size of the zip in bytes.
    pub bytes: u64,
    /// Size of its content in bytes.
    pub unzipped_bytes: u64,
}

/// How logs are written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logging {
    /// Lines or records.
    pub format: LogFormat,
    /// The least level of application records: `TRACE` to `FATAL`. Only with [`LogFormat::Json`].
    pub application_level: Option<String>,
    /// The least level of platform records: `DEBUG`, `INFO`, `WARN`. Only with [`LogFormat::Json`].
    pub system_level: Option<String>,
    /// The log group.
    pub group: String,
}

/// The format of logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogFormat {
    /// Lines of text.
    Text,
    /// One JSON record a line.
    Json,
}

/// Whether invocations are sampled for tracing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TracingMode {
    /// As the caller's trace header says.
    PassThrough,
    /// The service decides.
    Active,
}

/// The state of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is being created, and cannot be invoked or changed.
    Pending,
    /// It can be invoked.
    Active,
}

/// The state of the last update of `$LATEST`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateStatus {
    /// It is under way. Nothing else can be changed.
    InProgress,
    /// It is in force.
    Successful,
}

impl State {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Active => "Active",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "Pending" => Some(Self::Pending),
            "Active" => Some(Self::Active),
            _ => None,
        }
    }
}

impl UpdateStatus {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::InProgress => "InProgress",
            Self::Successful => "Successful",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "InProgress" => Some(Self::InProgress),
            "Successful" => Some(Self::Successful),
            _ => None,
        }
    }
}
