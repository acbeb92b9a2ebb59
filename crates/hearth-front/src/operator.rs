//! Unsigned requests on the API's listener: `/health`, and `/metrics` where the configuration allows it.
//!
//! These metrics name no account, but show how busy the host is. Metrics with the ids of microVMs are for the
//! operator: on a listener of their own, or with a signature (`GET /hearth/v1/metrics`).

use std::sync::Arc;

use http::Method;
use http::request::Parts;

use crate::known_hosts::KnownHosts;
use crate::metrics_page::MetricsPage;
use crate::wire::{Reply, gateway_not_found, reply};

/// The metrics of the host, and whether to show them here.
pub(crate) struct Operator {
    pub(crate) page: Arc<MetricsPage>,
    /// The names by which browsers may ask for metrics. `None` if metrics are not shown here.
    pub(crate) shown_to: Option<KnownHosts>,
}

impl Operator {
    pub(crate) async fn answer(&self, head: &Parts) -> Reply {
        match (&head.method, head.uri.path(), &self.shown_to) {
            (&Method::GET, "/health", _) => reply(200, "text/plain", "ok\n"),
            (&Method::GET, "/metrics", Some(hosts)) if hosts.have(head) => {
                self.page.answer_host().await
            }
            (&Method::GET, "/metrics", Some(_)) => misdirected(),
            _ => gateway_not_found(),
        }
    }
}

/// The answer to a request for a host name that this service does not have (RFC 9110 section 15.5.20).
pub(crate) fn misdirected() -> Reply {
    let text =
        "This service is not known by that name. Use its address, or add the name to tls.names.\n";
    reply(421, "text/plain", text)
}
