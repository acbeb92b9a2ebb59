//! `cargo xtask bench`: runs benchmarks.

mod api;
mod endpoint;
mod host;
mod image;
mod machine;
mod neighbour;
mod script;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::setup;

/// Arguments of `bench`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// MicroVMs: restore, clones, suspend and resume, memory beside the guest's.
    Machine(machine::Arguments),
    /// Builds of images: seconds of each phase, cold and with the layers of an earlier build, and sizes.
    Image(image::Arguments),
    /// The way to an application through the endpoint and through nginx: latency, throughput, requests a second; and the first
    /// request on a suspended microVM.
    Endpoint(endpoint::Arguments),
    /// Requests to one microVM while another one attacks processor, memory, disk and network; with `--native` calls of one account
    /// while another one attacks what both share.
    Neighbour(neighbour::Arguments),
    /// The API over a node without virtual machines: times and calls a second, by the number of records.
    Api(api::Arguments),
    /// A node without virtual machines: waking, suspending and terminating one microVM, by the number of those that sleep.
    Host(host::Arguments),
}

/// The command `bench`.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    setup::ensure()?;
    match &arguments.what {
        What::Machine(arguments) => machine::run(arguments),
        What::Image(arguments) => image::run(arguments),
        What::Endpoint(arguments) => endpoint::run(arguments),
        What::Neighbour(arguments) => neighbour::run(arguments),
        What::Api(arguments) => api::run(arguments),
        What::Host(arguments) => host::run(arguments),
    }
}
