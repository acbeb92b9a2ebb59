//! The contract tests: boto3, botocore and the AWS CLI against the front (`tests/contract`).

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::outcome::{Outcome, run_counted};
use crate::workspace;

/// Makes the Python environment when it is missing or stands on other requirements, builds the development
/// front, and runs pytest.
pub(crate) fn run() -> Result<Outcome> {
    let root = workspace::root();
    let environment = workspace::target_dir().join("venv-e2e");
    let requirements = fs::read_to_string(root.join("tests/requirements.txt"))?;
    let installed = environment.join("requirements.txt");
    if fs::read_to_string(&installed).ok().as_deref() != Some(requirements.as_str()) {
        println!("installing the clients: boto3, the AWS CLI, pytest");
        checked(
            Command::new("python3")
                .args(["-m", "venv", "--clear"])
                .arg(&environment),
        )?;
        let pip = environment.join("bin/pip");
        checked(
            Command::new(pip)
                .args(["install", "--quiet", "--disable-pip-version-check", "-r"])
                .arg(root.join("tests/requirements.txt")),
        )?;
        fs::write(&installed, &requirements)?;
    }
    checked(workspace::cargo().args([
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
            .current_dir(root.join("tests"))
            .env("HEARTH_TARGET_DIR", workspace::target_dir()),
    )
}

fn checked(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot run {command:?}"))?;
    if !status.success() {
        bail!("{command:?} failed");
    }
    Ok(())
}
