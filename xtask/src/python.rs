//! The Python environment of the suites under `tests/`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::workspace;

/// Makes the environment when it is missing or stands on other requirements; answers where it is.
pub(crate) fn environment() -> Result<PathBuf> {
    let root = workspace::root();
    let environment = workspace::target_dir().join("venv-e2e");
    let requirements = fs::read_to_string(root.join("tests/requirements.txt"))?;
    let installed = environment.join("requirements.txt");
    if fs::read_to_string(&installed).ok().as_deref() == Some(requirements.as_str()) {
        return Ok(environment);
    }
    println!("installing the clients: boto3, the AWS CLI, grpcio, websockets, pytest");
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
    download_guest_wheels(&environment, &requirements)?;
    fs::write(&installed, &requirements)?;
    Ok(environment)
}

/// Where [`environment`] keeps what tests bring into guests.
pub(crate) fn guest_wheels(environment: &Path) -> PathBuf {
    environment.join("guest-wheels")
}

/// Downloads grpcio for the Python of guests (Debian 12's), whichever this machine has.
fn download_guest_wheels(environment: &Path, requirements: &str) -> Result<()> {
    let mut lines = requirements.lines();
    let grpcio = lines.find(|line| line.starts_with("grpcio=="));
    checked(
        Command::new(environment.join("bin/pip"))
            .args(["download", "--quiet", "--disable-pip-version-check"])
            .args(["--only-binary=:all:", "--python-version=3.11"])
            .arg("--platform=manylinux2014_x86_64")
            .arg("--dest")
            .arg(guest_wheels(environment))
            .arg(grpcio.context("tests/requirements.txt names no grpcio")?),
    )
}

/// Runs a command that has to succeed.
pub(crate) fn checked(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot run {command:?}"))?;
    if !status.success() {
        bail!("{command:?} failed");
    }
    Ok(())
}
