//! What the endpoint costs: `cargo xtask bench endpoint`.
//!
//! One client and one application, with nothing, with the endpoint and with nginx between them:
//!
//! ```text
//! direct   client ── TCP ───────────────────> application
//! hearth   client ── TLS ──> endpoint ─ TCP ─> application
//! nginx    client ── TLS ──> nginx ──── TCP ─> application
//! ```
//!
//! Each of them is a process of its own, and all are measured in turn, request by request or transfer by transfer, so that what
//! else the machine does meets all alike. The endpoint is the real one; behind it stands loopback instead of a stream into a guest, so
//! what a guest adds is in none of the three. What was measured in guests by another program is taken in by `--include`.

#![forbid(unsafe_code)]

mod application;
mod client;
mod nginx;
mod process;
mod series;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use hearth_bench::Samples;

use crate::client::{Subject, Version};
use crate::nginx::Nginx;
use crate::process::{Application, Endpoint};

/// Measures the endpoint.
#[derive(Debug, Parser)]
pub(crate) struct Arguments {
    /// Serves as the application instead of measuring.
    #[arg(long, hide = true, exclusive = true)]
    application: bool,
    /// The endpoint before loopback: the example `dev_endpoint` of `hearth-endpoint`.
    #[arg(long, required_unless_present = "application")]
    endpoint: Option<PathBuf>,
    /// nginx to measure in the same run.
    #[arg(long)]
    nginx: Option<PathBuf>,
    /// Requests one after another whose times are measured, of each kind.
    #[arg(long, default_value_t = 3000)]
    requests: usize,
    /// Size of one transfer.
    #[arg(long, default_value_t = 256)]
    transfer_mib: u64,
    /// Transfers of each kind, and measurements of each number of connections.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// How long requests are counted, each time.
    #[arg(long, default_value_t = 2000)]
    window_ms: u64,
    /// Measurements of another program to take in (a CSV as this one writes it).
    #[arg(long)]
    include: Option<PathBuf>,
    /// Where the raw measurements go.
    #[arg(long, default_value = "bench-endpoint.csv")]
    csv: PathBuf,
    /// Where the summary goes, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if arguments.application {
        return application::serve().await;
    }
    let mut samples = Samples::default();
    measure(&arguments, &mut samples).await?;
    if let Some(path) = &arguments.include {
        samples.read_csv(path)?;
    }
    samples.write_csv(&arguments.csv)?;
    println!(
        "The endpoint stands before an application on loopback here, as nginx does; first_request lines, if there are any, \
         are from guests."
    );
    samples.print();
    if let Some(path) = &arguments.json {
        samples.write_json(path)?;
    }
    Ok(())
}

async fn measure(arguments: &Arguments, samples: &mut Samples) -> Result<()> {
    let application = Application::start()?;
    let endpoint = arguments.endpoint.as_deref().map(Endpoint::start);
    let endpoint = endpoint.transpose()?;
    let nginx = arguments.nginx.as_deref();
    let nginx = nginx.map(|program| Nginx::start(program, application.port));
    let nginx = nginx.transpose()?;
    let mut subjects = vec![Subject::direct(application.port)];
    if let Some(endpoint) = &endpoint {
        subjects.push(endpoint.subject(application.port)?);
    }
    if let Some(nginx) = &nginx {
        subjects.push(nginx.subject()?);
    }
    for version in [Version::Http1, Version::Http2] {
        series::latency(&subjects, version, arguments.requests, samples).await?;
    }
    let bytes = arguments.transfer_mib << 20;
    for version in [Version::Http1, Version::Http2] {
        series::transfers(&subjects, version, bytes, arguments.rounds, samples).await?;
    }
    let window = Duration::from_millis(arguments.window_ms);
    series::rates(&subjects, window, arguments.rounds, samples).await
}
