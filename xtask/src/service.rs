//! The service tests: `hearth up` as a user starts it, and boto3 against it (`tests/service`).
//!
//! Where KVM runs no guests, `hearth up` starts an emulated host of its own. Kernels and base images are kept between
//! runs; everything that the service itself wrote is not.
//!
//! Two services on two hosts can share the tests: each takes one module after the other from the same queue, so that
//! neither host idles while the other one still has tests to run (`tests/service/conftest.py`).

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::outcome::{Outcome, run_counted};
use crate::place::{self, Place};
use crate::up::{self, Up};
use crate::workspace::{self, Binaries};
use crate::{lab, python};

/// The variable that tells `test` that another process uses the lab.
pub(crate) const BESIDE_VARIABLE: &str = "HEARTH_XTASK_BESIDE";

/// Which of the tests a service runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Share {
    All,
    /// What it takes from the queue first, and the second service what it takes.
    First,
    Second,
}

impl Share {
    fn data(self) -> PathBuf {
        workspace::target_dir().join(match self {
            Self::All | Self::First => "service",
            Self::Second => "service-2",
        })
    }
}

/// Directory in which a service records the modules that it has taken.
fn queue() -> PathBuf {
    workspace::target_dir().join("service-queue")
}

/// Puts all tests into the queue.
pub(crate) fn fill_queue() -> Result<()> {
    match fs::remove_dir_all(queue()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).context("cannot empty target/service-queue");
        }
        _ => {}
    }
    fs::create_dir_all(queue()).context("cannot create target/service-queue")
}

/// The step `service tests`.
pub(crate) fn run() -> Result<Outcome> {
    // Whoever started this process beside itself takes the second share.
    match std::env::var_os(BESIDE_VARIABLE) {
        Some(_) => run_share(Share::First),
        None => run_share(Share::All),
    }
}

/// Starts `hearth up`, runs pytest against it, and stops it.
pub(crate) fn run_share(share: Share) -> Result<Outcome> {
    let binaries = Binaries::build()?;
    let environment = python::environment()?;
    let place = place::find(&binaries)?;
    if place == Place::Lab && share != Share::First {
        // Three emulated hosts at once would compete for processor and memory.
        lab::power_off();
    }
    let data = share.data();
    up::clear(&data)?;
    // Without it, the tests of functions fail and tell why.
    if let Err(error) = lab::prepare_runtimes() {
        eprintln!("the runtime of functions cannot be built: {error:#}");
    }
    let output = data.join("output.log");
    // Encrypted: the contract tests have plain HTTP.
    let said = File::create(&output)?.into();
    let mut service = Up::start(&binaries, &data, said, &["--tls"])?;
    let served = service.wait_until_serving();
    served.with_context(|| format!("it says why in {}", output.display()))?;
    let mut tests = Command::new(environment.join("bin/pytest"));
    tests
        .args(["service", "--durations=0", "--durations-min=0.5"])
        .current_dir(workspace::root().join("tests"))
        .env("HEARTH_DATA", &data)
        .env("HEARTH", &binaries.hearth)
        .env("HEARTH_GUEST_WHEELS", python::guest_wheels(&environment))
        .env("HEARTH_OUTPUT", &output)
        .env("HEARTH_PLACE", place.name());
    if share != Share::All {
        tests.env("HEARTH_TEST_QUEUE", queue());
    }
    let outcome = run_counted(&mut tests);
    service.stop()?;
    outcome
}
