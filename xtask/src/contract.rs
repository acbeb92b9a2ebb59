//! The contract tests: boto3, botocore and the AWS CLI against the front (`tests/contract`).

use std::process::Command;

use anyhow::Result;

use crate::outcome::{Outcome, run_counted};
use crate::python;
use crate::workspace;

/// Builds the development front and runs pytest.
pub(crate) fn run() -> Result<Outcome> {
    let environment = python::environment()?;
    python::checked(workspace::cargo().args([
        "build",
        "--quiet",
        "-p",
        "hearth-front",
        "--example",
        "dev_front",
    ]))?;
    run_counted(
        Command::new(environment.join("bin/pytest"))
            .arg("contract")
            .current_dir(workspace::root().join("tests"))
            .env("HEARTH_TARGET_DIR", workspace::target_dir()),
    )
}
