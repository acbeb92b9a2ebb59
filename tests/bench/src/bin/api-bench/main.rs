//! How fast the API answers, and how that changes with the number of microVMs that it remembers: `cargo xtask bench api`.
//!
//! The front and the control plane are the real ones, over a node without virtual machines. A call is signed, verified,
//! throttled (without a limit), recorded and answered as always; launches do nothing on a host, and take 50 ms for that.

#![forbid(unsafe_code)]

mod caller;
mod front;
mod story;

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use hearth_bench::Samples;

use crate::front::Front;

/// Measures the API.
#[derive(Debug, Parser)]
pub(crate) struct Arguments {
    /// The front over a node without virtual machines: the example `dev_front` of `hearth-front`.
    #[arg(long)]
    front: PathBuf,
    /// How many microVMs are remembered.
    #[arg(long, value_delimiter = ',', default_values_t = [10, 1_000, 10_000])]
    records: Vec<usize>,
    /// Calls of each kind, one after another, whose times are measured.
    #[arg(long, default_value_t = 500)]
    calls: usize,
    /// Where the raw measurements go.
    #[arg(long, default_value = "bench-api.csv")]
    csv: PathBuf,
    /// Where the summary goes, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mut samples = Samples::default();
    for &records in &arguments.records {
        let front = Front::start(&arguments.front)?;
        story::measure(&front, records, &arguments, &mut samples).await?;
    }
    samples.write_csv(&arguments.csv)?;
    samples.print();
    if let Some(path) = &arguments.json {
        samples.write_json(path)?;
    }
    Ok(())
}
