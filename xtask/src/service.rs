//! The service tests: `hearth up` as a user starts it, and boto3 against it (`tests/service`).
//!
//! Where KVM runs no guests, `hearth up` starts an emulated host of its own. Kernels and base images are kept between
//! runs; everything that the service itself wrote is not.

use std::fs::File;
use std::process::Command;

use anyhow::{Context, Result};

use crate::outcome::{Outcome, run_counted};
use crate::place::{self, Place};
use crate::test::BESIDE_VARIABLE;
use crate::up::{self, Up};
use crate::workspace::{self, Binaries};
use crate::{lab, python};

/// Starts `hearth up`, runs pytest against it, and stops it.
pub(crate) fn run() -> Result<Outcome> {
    let binaries = Binaries::build()?;
    let environment = python::environment()?;
    let place = place::find(&binaries)?;
    if place == Place::Lab && std::env::var_os(BESIDE_VARIABLE).is_none() {
        // Two emulated hosts at once would take each other's processor and memory.
        lab::power_off();
    }
    let data = workspace::target_dir().join("service");
    up::clear(&data)?;
    let output = data.join("output.log");
    // Encrypted: the contract tests have plain HTTP.
    let said = File::create(&output)?.into();
    let mut service = Up::start(&binaries, &data, said, &["--tls"])?;
    let served = service.wait_until_serving();
    served.with_context(|| format!("it says why in {}", output.display()))?;
    let outcome = run_counted(
        Command::new(environment.join("bin/pytest"))
            .args(["service", "--durations=0", "--durations-min=0.5"])
            .current_dir(workspace::root().join("tests"))
            .env("HEARTH_DATA", &data)
            .env("HEARTH", &binaries.hearth)
            .env("HEARTH_GUEST_WHEELS", python::guest_wheels(&environment))
            .env("HEARTH_OUTPUT", &output)
            .env("HEARTH_PLACE", place.name()),
    );
    service.stop()?;
    outcome
}
