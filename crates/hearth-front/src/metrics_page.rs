//! The metrics of this process as one page, in two parts: metrics of the host, and metrics that name microVMs of
//! accounts.

use std::fmt;
use std::sync::Arc;

use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::registry::Registry;

use crate::wire::{Reply, reply};

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics of this process.
#[derive(Debug, Default)]
pub struct MetricsPage {
    /// Metrics that name no account and nothing of an account.
    pub host: Registry,
    /// Metrics that name microVMs: for the operator only.
    pub microvms: Registry,
}

impl MetricsPage {
    /// All metrics, for the operator.
    pub(crate) async fn answer_all(self: &Arc<Self>) -> Reply {
        let page = Arc::clone(self);
        answer(move || render(&[&page.host, &page.microvms])).await
    }

    /// The metrics of the host.
    pub(crate) async fn answer_host(self: &Arc<Self>) -> Reply {
        let page = Arc::clone(self);
        answer(move || render(&[&page.host])).await
    }
}

/// Renders on a thread that may block: some metrics are read from the kernel, one file for each microVM.
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
