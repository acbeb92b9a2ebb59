//! What waking, suspending and terminating one microVM costs beside many others that sleep: `cargo xtask bench host`.
//!
//! The node, its records and its snapshots are the real ones; VMMs are `fake-vmm`, so there is neither KVM nor a guest. Nodes with
//! few and with many sleepers are measured in turn, so that all meet the same load of this machine.

#![forbid(unsafe_code)]

mod arguments;
mod bed;
mod stretch;

use anyhow::{Context as _, Result};
use clap::Parser;
use hearth_bench::Samples;

use crate::arguments::Arguments;
use crate::bed::Bed;
use crate::stretch::Stretches;

/// Threads of the measured runtime.
const WORKERS: usize = 2;

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let stretches = Stretches::default();
    let runtime = stretches.runtime(WORKERS)?;
    let story = measure(arguments.clone(), stretches);
    // On a worker: what runs on this thread would not be seen to block one.
    let measured = runtime.block_on(runtime.spawn(story));
    let samples = measured.context("the benchmark panicked")??;
    samples.write_csv(&arguments.csv)?;
    samples.print();
    if let Some(path) = &arguments.json {
        samples.write_json(path)?;
    }
    Ok(())
}

async fn measure(arguments: Arguments, stretches: Stretches) -> Result<Samples> {
    let mut samples = Samples::default();
    let mut beds = Vec::new();
    for &sleepers in &arguments.sleepers {
        eprintln!("{sleepers} microVMs are laid down");
        let mut bed = Bed::make(sleepers, &arguments).await?;
        bed.start(arguments.starts, &mut samples).await?;
        beds.push(bed);
    }
    for round in 0..arguments.rounds {
        eprintln!("round {} of {}", round + 1, arguments.rounds);
        for bed in &mut beds {
            if bed.is_used_up() {
                *bed = Bed::make(bed.sleepers(), &arguments).await?;
            }
            bed.measure(&stretches, &mut samples).await?;
        }
    }
    Ok(samples)
}
