//! How fast microVMs are: `cargo xtask bench machine`.
//!
//! Every single measurement is a line of the CSV (`metric,subject,parameter,round,value`); the table and the JSON
//! are medians and 95th percentiles of those lines and of nothing else. Subjects are measured in one run, turn by
//! turn, so that a host that slows down slows all of them.

#![forbid(unsafe_code)]

mod cycles;
mod firecracker;
mod hearth;
mod memory;
mod network;
mod peer;
mod process;
mod qemu;
mod root;

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use hearth_bench::Samples;

use crate::peer::{Peer, PeerPrograms};

/// Measures microVMs on this host.
#[derive(Debug, Parser)]
struct Arguments {
    /// The `test-guest` program.
    #[arg(long)]
    test_guest: PathBuf,
    /// Counted rounds of each measurement.
    #[arg(long, default_value_t = 20)]
    rounds: u32,
    /// Where the raw measurements go.
    #[arg(long, default_value = "bench-machine.csv")]
    csv: PathBuf,
    /// Where the summary goes, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// A Firecracker binary to measure in the same run.
    #[arg(long)]
    firecracker: Option<PathBuf>,
    /// Its `jailer`, to measure Firecracker in a jail too.
    #[arg(long, requires = "firecracker")]
    jailer: Option<PathBuf>,
    /// A `qemu-system-x86_64` to measure as a microvm in the same run.
    #[arg(long)]
    qemu: Option<PathBuf>,
    /// Measure the network of guests, and nothing else.
    #[arg(long)]
    network: bool,
    /// Measure the long run, and nothing else: one microVM that sleeps and wakes so many times, forks, scattered pages.
    #[arg(long, value_name = "N", conflicts_with = "network")]
    cycles: Option<u32>,
    /// Leave out guests of 8 GiB, for hosts with little memory.
    #[arg(long)]
    small: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let samples = if arguments.network {
        network::measure(&arguments.test_guest, arguments.rounds)?
    } else {
        measure_machines(&arguments)?
    };
    samples.write_csv(&arguments.csv)?;
    samples.print();
    if let Some(path) = &arguments.json {
        samples.write_json(path)?;
    }
    Ok(())
}

fn measure_machines(arguments: &Arguments) -> Result<Samples> {
    if arguments.jailer.is_some() {
        root::leave_initial()?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    match arguments.cycles {
        Some(cycles) => runtime.block_on(cycles::measure(&arguments.test_guest, cycles)),
        None => runtime.block_on(measure(arguments)),
    }
}

async fn measure(arguments: &Arguments) -> Result<Samples> {
    let mut samples = Samples::default();
    let bench = hearth::Bench::new(&arguments.test_guest, arguments.rounds).await?;
    let programs = PeerPrograms {
        firecracker: arguments.firecracker.clone(),
        jailer: arguments.jailer.clone(),
        qemu: arguments.qemu.clone(),
    };
    let peers = Peer::prepare(&programs, bench.fixture()).await?;
    bench
        .restores(&mut samples, &peers, arguments.small)
        .await?;
    bench.clones_at_once(&mut samples).await?;
    bench.suspends(&mut samples).await?;
    Ok(samples)
}
