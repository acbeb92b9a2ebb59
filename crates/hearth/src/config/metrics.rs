//! `[metrics]`: the listener for metrics.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// The table `[metrics]`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Metrics {
    /// Address of a listener for metrics only, without encryption and without signatures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) listen: Option<SocketAddr>,
}
