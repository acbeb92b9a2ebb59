//! What the operator's tools ask without a signature: `/metrics` and `/health`.
//!
//! Both are answered only where the configuration says so, because metrics name no tenant but
//! show how busy the host is.

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

    pub(crate) fn answer(&self, head: &Parts) -> Reply {
        match (&head.method, head.uri.path(), &self.registry) {
            (&Method::GET, "/health", _) => reply(200, "text/plain", "ok\n"),
            (&Method::GET, "/metrics", Some(registry)) => {
                let mut text = String::new();
                match encode(&mut text, registry) {
                    Ok(()) => reply(200, OPENMETRICS, text),
                    Err(_) => reply(500, "text/plain", "metrics cannot be rendered\n"),
                }
            }
            _ => gateway_not_found(),
        }
    }
}
