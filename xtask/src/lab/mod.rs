//! `cargo xtask lab`: runs a command inside the emulated host.
//!
//! If KVM runs guests on this machine, the command runs here, unless a flag asks for the emulated host.
//!
//! The first call boots the host (some seconds), later ones find it running. Binaries stand inside at the paths that
//! they have here, so that what a test knows of its own place (`CARGO_BIN_EXE_*`, `current_exe`) holds there too.
//! Everything is kept below `target/lab/` and made anew when it is missing.

mod bases;
mod registry;
mod runtimes;
mod session;
mod sync;

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use hearth_emulated::EmulatedHost;

pub(crate) use bases::{
    BASES_VARIABLE, prepare as prepare_bases, prepare_telling as prepare_bases_telling,
    send as send_bases,
};
pub(crate) use registry::{REGISTRY_VARIABLE, program as registry_program};
pub(crate) use runtimes::{RUNTIMES_VARIABLE, prepare as prepare_runtimes, send as send_runtimes};
pub(crate) use session::{Boot, Ended, Input, Session, build_base, last_lines, native_environment};

use crate::place::{self, Place};
use crate::workspace::{Binaries, lab_dir};
use crate::{setup, workspace};

/// How the emulated host should be.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Shape {
    /// Processors of the emulated host [default: 1].
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=8))]
    smp: Option<u8>,
    /// Memory of the emulated host in MiB [default: half of what is free, 2048 to 8192].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1024..=65536))]
    memory: Option<u32>,
    /// Run this program as its PID 1 instead of the workspace's hearth-agent.
    #[arg(long, env = "HEARTH_LAB_AGENT")]
    agent: Option<PathBuf>,
}

impl Shape {
    /// The shape for runners: any shape is accepted, but the agent may be given.
    pub(crate) fn from_environment() -> Self {
        Self {
            agent: std::env::var_os("HEARTH_LAB_AGENT").map(PathBuf::from),
            ..Self::default()
        }
    }
}

/// Arguments of `lab`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    shape: Shape,
    /// Boot a new emulated host even if one is running.
    #[arg(long)]
    fresh: bool,
    /// Use the emulated host even if KVM runs guests here.
    #[arg(long)]
    emulated: bool,
    /// Use the binaries of an earlier build, for example while the workspace does not compile.
    #[arg(long)]
    no_build: bool,
    /// Power the emulated host off.
    #[arg(long, conflicts_with_all = ["fresh", "command"])]
    stop: bool,
    /// Print the end of the emulated host's console.
    #[arg(long, conflicts_with_all = ["fresh", "command"])]
    console: bool,
    /// Copy a file of this machine into the emulated host first: SOURCE, or SOURCE:/TARGET.
    #[arg(long = "file", short = 'f', value_name = "SOURCE[:TARGET]")]
    files: Vec<String>,
    /// The command and its arguments; one single word with spaces goes through the shell.
    #[arg(last = true)]
    command: Vec<String>,
}

impl Arguments {
    /// Whether a flag makes sense for the emulated host alone.
    fn asks_for_emulation(&self) -> bool {
        let shape = &self.shape;
        self.emulated
            || self.fresh
            || !self.files.is_empty()
            || self.command.is_empty()
            || shape.smp.is_some()
            || shape.memory.is_some()
            || shape.agent.is_some()
    }

    fn argv(&self) -> Vec<String> {
        match self.command.as_slice() {
            [line] if line.contains(' ') => vec!["/bin/sh".into(), "-c".into(), line.clone()],
            words => words.to_vec(),
        }
    }
}

/// Powers the emulated host off; answers whether one was running.
pub(crate) fn power_off() -> bool {
    let host = EmulatedHost::attach(&session::host_dir());
    if let Some(host) = &host {
        host.stop(Duration::from_secs(10));
    }
    host.is_some()
}

/// The command `lab`.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let running = || EmulatedHost::attach(&session::host_dir());
    if arguments.stop {
        if !power_off() {
            eprintln!("lab: nothing is running");
        }
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.console {
        match running() {
            Some(host) => print!("{}", host.console_tail()),
            None => bail!("nothing is running"),
        }
        return Ok(ExitCode::SUCCESS);
    }
    setup::ensure_lab()?;
    let binaries = if arguments.no_build {
        Binaries::existing()?
    } else {
        Binaries::build()?
    };
    if !arguments.asks_for_emulation() && place::find(&binaries)? == Place::Here {
        return run_here(arguments, &binaries);
    }
    let boot = if arguments.fresh {
        session::Boot::Fresh
    } else {
        session::Boot::Reuse
    };
    let session = Session::open(&arguments.shape, &binaries, boot)?;
    for file in &arguments.files {
        let (source, target) = match file.split_once(':') {
            Some((source, target)) => (PathBuf::from(source), PathBuf::from(target)),
            None => (PathBuf::from(file), std::path::absolute(file)?),
        };
        session.send(&source, &target)?;
    }
    if arguments.command.is_empty() {
        eprintln!(
            "lab: the emulated host is running (pid {})",
            session.host_pid()
        );
        return Ok(ExitCode::SUCCESS);
    }
    let environment = session.environment(&forwarded_environment());
    match session.exec(
        &arguments.argv(),
        &environment,
        "/",
        session::Input::Inherit,
    )? {
        Ended::Status(code) => Ok(ExitCode::from(code)),
        Ended::HostDied(death) => bail!("{death}; the next call boots a new one"),
    }
}

/// Replaces this process by the command.
fn run_here(arguments: &Arguments, binaries: &Binaries) -> Result<ExitCode> {
    let argv = arguments.argv();
    let (program, words) = argv.split_first().context("no command is given")?;
    let error = Command::new(program)
        .args(words)
        .envs(native_environment(binaries)?)
        .exec();
    Err(error).with_context(|| format!("cannot run {program}"))
}

/// Variables of the environment that are passed into the lab unchanged.
pub(crate) fn forwarded_environment() -> BTreeMap<String, String> {
    const PREFIXES: &[&str] = &["HEARTH_", "RUST_", "PROPTEST_", "NEXTEST", "INSTA_", "TERM"];
    std::env::vars()
        .filter(|(name, _)| PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
        // Reading debug information takes an emulated processor longer than the test that failed.
        .filter(|(name, _)| name != "RUST_BACKTRACE")
        .collect()
}

/// Directory of the lab's data: kernels and base versions.
pub(crate) fn data_dir() -> PathBuf {
    lab_dir().join("data")
}

/// File that records deaths of the emulated host, for the summary of a test run.
pub(crate) fn deaths_file() -> PathBuf {
    workspace::lab_dir().join("deaths.log")
}
