//! The metrics of this process as one page, in two parts: what is of the host, and what names microVMs of tenants.

use std::fmt;
use std::sync::Arc;

use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::registry::Registry;

use crate::wire::{Reply, reply};

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Everything that is measured.
#[derive(Debug, Default)]
pub struct MetricsPage {
    /// What names no tenant and nothing of a tenant.
    pub host: Registry,
    /// What names microVMs: the operator's alone.
    pub microvms: Registry,
}

impl MetricsPage {
    /// Everything, for the operator.
    pub(crate) async fn answer_all(self: &Arc<Self>) -> Reply {
        let page = Arc::clone(self);
        answer(move || render(&[&page.host, &page.microvms])).await
    }

    /// What is of the host.
    pub(crate) async fn answer_host(self: &Arc<Self>) -> Reply {
        let page = Arc::clone(self);
        answer(move || render(&[&page.host])).await
    }
}

/// Renders apart: some metrics are read from the kernel, one file for each microVM.
async fn answer(render: impl FnOnce() -> Result<String, fmt::Error> + Send + 'static) -> Reply {
    match tokio::task::spawn_blocking(render).await {
        Ok(Ok(text)) => reply(200, OPENMETRICS, text),
        _ => reply(500, "text/plain", "metrics cannot be rendered\n"),
    }
}

fn render(registries: &[&Registry]) -> Result<String, fmt::Error> {
    let mut text = String::new();
    for registry in registries {
        encode_registry(&mut text, registry)?;
    }
    encode_eof(&mut text)?;
    Ok(text)
}
