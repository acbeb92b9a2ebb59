//! How fast the API answers, and how that changes with the number of microVMs that it remembers: `cargo xtask bench api`.
//!
//! The front and the control plane are the real ones, over a node without virtual machines. A call is signed, verified,
//! throttled (without a limit), recorded and answered as always; launches do nothing on a host, and take 50 ms for that.

#![forbid(unsafe_code)]

mod arguments;
mod caller;
mod front;
mod story;

use anyhow::Result;
use clap::Parser;
use hearth_bench::Samples;

use crate::arguments::Arguments;
use crate::front::Front;

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
