//! Decides where tests that need KVM run: on this machine if KVM runs guests, else in the lab.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use crate::workspace::{Binaries, lab_dir};

/// Where tests run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Here,
    Lab,
}

impl Place {
    /// Name of the place in records and variables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Here => "here",
            Self::Lab => "lab",
        }
    }

    /// The place of that name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [Self::Here, Self::Lab]
            .into_iter()
            .find(|place| place.name() == name)
    }
}

/// Finds out by running a test guest (`hearth host check`); the answer holds until this machine reboots.
pub(crate) fn find(binaries: &Binaries) -> Result<Place> {
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").context("no boot id")?;
    let record = lab_dir().join("kvm-probe");
    if let Ok(text) = fs::read_to_string(&record)
        && let Some(answer) = text.strip_prefix(&boot_id)
        && let Some(place) = Place::from_name(answer)
    {
        return Ok(place);
    }
    let output = Command::new(&binaries.hearth)
        .args(["host", "check"])
        .output()
        .context("cannot run hearth host check")?;
    eprint!("lab: {}", String::from_utf8_lossy(&output.stdout));
    let place = if output.status.success() {
        Place::Here
    } else {
        Place::Lab
    };
    fs::create_dir_all(lab_dir())?;
    fs::write(&record, format!("{boot_id}{}", place.name())).context("cannot write target/lab")?;
    Ok(place)
}

/// The variable by which cargo and nextest are told about a runner.
pub(crate) const RUNNER_VARIABLE: &str = "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER";
