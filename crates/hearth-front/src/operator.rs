//! What the operator's tools ask without a signature: `/metrics` and `/health`.
//!
//! Metrics are answered only where the configuration says so: they name no tenant, but the ids of microVMs, and show
//! how busy the host is.

use std::sync::Arc;

use http::Method;
use http::request::Parts;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

use crate::wire::{Reply, gateway_not_found, reply};

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The metrics of the whole process, and whether to show them here.
pub(crate) struct Operator {
    registry: Option<Arc<Registry>>,
}

impl Operator {
    pub(crate) fn new(registry: Option<Arc<Registry>>) -> Self {
        Self { registry }
    }

    pub(crate) async fn answer(&self, head: &Parts) -> Reply {
        match (&head.method, head.uri.path(), &self.registry) {
            (&Method::GET, "/health", _) => reply(200, "text/plain", "ok\n"),
            (&Method::GET, "/metrics", Some(registry)) => {
                let registry = Arc::clone(registry);
                // Some are read from the kernel, one file for each microVM.
                let rendering = tokio::task::spawn_blocking(move || {
                    let mut text = String::new();
                    encode(&mut text, &registry).map(|()| text)
                });
                match rendering.await {
                    Ok(Ok(text)) => reply(200, OPENMETRICS, text),
                    _ => reply(500, "text/plain", "metrics cannot be rendered\n"),
                }
            }
            _ => gateway_not_found(),
        }
    }
}
