//! `cargo xtask demo`: shows the main use of Hearth in one command, from this checkout.
//!
//! Runs `hearth up` as a user starts it, and `examples/quickstart.py` against it. The kernel, the base images and the
//! layers of builds are kept in `target/demo`. MicroVMs, images and the emulated host are removed at the end.
//!
//! ```text
//! output of the demo            steps with their times, results
//! target/demo/demo.log          what cargo, apt, pip, `hearth up` and the build say; its end is shown when a step fails
//! ```

mod log;
mod quick_start;
mod screen;
mod service;
mod steps;

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};

use self::log::Log;
use self::screen::Screen;
use self::service::Service;
use self::steps::{Step, span};
use crate::place::{self, Place};
use crate::up::{self, Traces};
use crate::workspace::{self, Binaries};
use crate::{lab, python, setup};

/// Marks a data directory that holds only the prepared files.
const ENDED: &str = "demo-ended";

/// Lines of the log that a failure shows.
const SHOWN_OF_LOG: usize = 25;

/// The command `demo`.
pub(crate) fn run() -> Result<ExitCode> {
    let data = workspace::target_dir().join("demo");
    // An interrupted run may have left microVMs and an image, which would be in the way.
    if !data.join(ENDED).exists() {
        up::clear(&data)?;
    }
    let path = data.join("demo.log");
    println!(
        "A folder with a Dockerfile becomes an image, and two tenants get a session each.\n\
         What the programs say meanwhile: {}\n",
        path.display()
    );
    let log = Log::begin(&path)?;
    let outcome = show(&data, log.output().map(Screen::begin)?);
    let tail = log.tail(SHOWN_OF_LOG);
    drop(log);
    match outcome {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => {
            eprintln!("\nThe end of {}:\n{tail}\n", path.display());
            Err(error)
        }
    }
}

/// Everything that is needed to start a service.
struct Prepared {
    binaries: Binaries,
    /// The Python environment with boto3.
    environment: PathBuf,
}

fn show(data: &Path, screen: Screen) -> Result<()> {
    let screen = Arc::new(screen);
    let prepared = prepare(&screen)?;
    let binaries = &prepared.binaries;
    let (service, before) = start(binaries, data, &screen)?;
    let plot = data.join("plot.png");
    let summary = screen.step(Step::QuickStart, || {
        let mut command = Command::new(prepared.environment.join("bin/python"));
        command
            .arg(workspace::root().join("examples/quickstart.py"))
            .arg(&plot)
            .envs(client_environment(binaries, data)?);
        quick_start::run(&screen, &mut command)
    })?;
    screen.step(Step::Traces, || {
        let left = up::left_behind(binaries, data, &before)?;
        if !left.is_empty() {
            let left: Vec<String> = left.into_iter().collect();
            bail!("something was left: {}", left.join(", "));
        }
        screen.detail(Step::Traces, "nothing");
        Ok(())
    })?;
    screen.step(Step::Stop, || service.stop())?;
    fs::write(data.join(ENDED), "")?;
    screen.lines(&report(
        summary,
        before.len(),
        &plot,
        &span(screen.elapsed()),
    ));
    Ok(())
}

/// Builds or downloads everything that is needed.
fn prepare(screen: &Screen) -> Result<Prepared> {
    screen.step(Step::Packages, || {
        let missing = setup::missing_for_demo().join(" ");
        screen.detail(Step::Packages, &missing);
        setup::ensure_demo()?;
        if missing.is_empty() {
            screen.detail(Step::Packages, "none is missing");
        }
        Ok(())
    })?;
    let (binaries, bases, environment) = std::thread::scope(|scope| {
        let bases = scope.spawn(|| make_bases(screen));
        let environment = scope.spawn(|| screen.step(Step::Clients, python::boto3));
        (build(screen), bases.join(), environment.join())
    });
    bases.map_err(|_| anyhow!("preparing the base images panicked"))??;
    Ok(Prepared {
        binaries: binaries?,
        environment: environment.map_err(|_| anyhow!("installing boto3 panicked"))??,
    })
}

fn build(screen: &Screen) -> Result<Binaries> {
    screen.step(Step::Programs, || {
        Binaries::build_telling(&|compiled| screen.detail(Step::Programs, compiled))
    })
}

/// Makes all base images: the quick start's image is based on the last one, `hearth/python-data`.
fn make_bases(screen: &Screen) -> Result<()> {
    screen.step(Step::Bases, || {
        let are_made = Cell::new(false);
        lab::prepare_bases_telling(&|part| {
            are_made.set(true);
            eprintln!("{part} ...");
            screen.detail(Step::Bases, part);
        })?;
        let result = if are_made.get() {
            "they are made"
        } else {
            "they were there"
        };
        screen.detail(Step::Bases, result);
        Ok(())
    })
}

/// Starts the service. Also answers the host's traces of microVMs before there is one.
fn start(binaries: &Binaries, data: &Path, screen: &Arc<Screen>) -> Result<(Service, Traces)> {
    screen.step(Step::Start, || {
        screen.detail(Step::Start, "looking whether KVM runs guests here");
        let place = place::find(binaries)?;
        if place == Place::Lab {
            lab::power_off();
        }
        // From here on the data directory may hold more than the prepared files.
        let _ = fs::remove_file(data.join(ENDED));
        let service = Service::start(binaries, data, screen)?;
        screen.detail(Step::Start, "waiting until the host is at rest");
        let before = up::traces(binaries, data)?;
        let place = match place {
            Place::Here => "microVMs run on KVM",
            Place::Lab => "in the emulated host, KVM runs no guests",
        };
        screen.detail(Step::Start, place);
        Ok((service, before))
    })
}

/// The last lines: times here and on AWS, and the other results.
fn report(summary: Vec<String>, traces: usize, plot: &Path, taken: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    lines.extend(summary);
    lines.extend([
        String::new(),
        format!(
            "Nothing is left, seen from outside: {traces} traces of processes, control groups, namespaces, mounts, network \
             cards and files, as before."
        ),
        format!("The plot: {}. All of it took {taken}.", plot.display()),
    ]);
    lines
}
/// The variables that `hearth env` exports.
fn client_environment(binaries: &Binaries, data: &Path) -> Result<Vec<(String, String)>> {
    let output = Command::new(&binaries.hearth)
        .arg("--data")
        .arg(data)
        .arg("env")
        .output()
        .context("cannot run hearth env")?;
    if !output.status.success() {
        bail!("hearth env: {}", String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let exports = text.lines().filter_map(|line| {
        let (name, value) = line.strip_prefix("export ")?.split_once('=')?;
        Some((name.to_owned(), value.trim_matches('\'').to_owned()))
    });
    Ok(exports.collect())
}
