//! Developer commands: `cargo xtask demo | setup | test | tidy | bench | package | lab | lab-test | runner`.
//!
//! They must work from a fresh clone on a machine that has only Rust and apt, so they depend on little and
//! on no part of the VMM: a broken VMM must not break the tools that find out why.

#![forbid(unsafe_code)]

mod workspace;

mod bench;
mod changed;
mod contract;
mod demo;
mod durations;
mod lab;
mod nextest;
mod outcome;
mod package;
mod place;
mod python;
mod runner;
mod service;
mod setup;
mod test;
mod tidy;
mod up;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Developer commands of Hearth")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show the main job: an image from a Dockerfile, two sessions, sleep, wake, nothing left.
    Demo,
    /// Install what this machine lacks (as root), or print the line that does.
    Setup,
    /// Run everything that decides whether a change may land.
    Test(test::Arguments),
    /// Check dependency directions, licences, file sizes, unsafe code and docs.
    Tidy,
    /// Measure how fast it is.
    Bench(bench::Arguments),
    /// Make a Debian package.
    Package(package::Arguments),
    /// Run a command where KVM works (here, or inside the emulated host), with the workspace's binaries in its PATH.
    Lab(lab::Arguments),
    /// Run `cargo nextest run` with integration tests where KVM works: here, or inside the emulated host.
    LabTest(nextest::Arguments),
    /// Run a test binary where KVM works: here, or inside the emulated host (a cargo target runner).
    Runner(runner::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Demo => demo::run(),
        Command::Setup => setup::run(),
        Command::Test(arguments) => test::run(&arguments),
        Command::Tidy => tidy::run(),
        Command::LabTest(arguments) => nextest::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Package(arguments) => package::run(&arguments),
        Command::Lab(arguments) => lab::run(&arguments),
        Command::Runner(arguments) => runner::run(&arguments),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
