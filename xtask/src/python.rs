//! The Python environment of the suites under `tests/`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::workspace;

/// Makes the environment if it is absent or was made from other requirements. Answers its path.
pub(crate) fn environment() -> Result<PathBuf> {
    let environment = workspace::target_dir().join("venv-e2e");
    let requirements = requirements()?;
    install(&environment, &requirements, || {
        download_guest_wheels(&environment, &requirements)
    })?;
    Ok(environment)
}

/// Same as [`environment`], with boto3 only, for the examples.
pub(crate) fn boto3() -> Result<PathBuf> {
    let environment = workspace::target_dir().join("venv-boto3");
    let requirements = requirements()?;
    let is_wanted = |line: &&str| line.starts_with("boto");
    let wanted: Vec<&str> = requirements.lines().filter(is_wanted).collect();
    install(&environment, &wanted.join("\n"), || Ok(()))?;
    Ok(environment)
}

fn requirements() -> Result<String> {
    let path = workspace::root().join("tests/requirements.txt");
    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// Installs the requirements into a new environment, and calls `further`. No-op if they are installed already.
fn install(
    environment: &Path,
    requirements: &str,
    further: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let installed = environment.join("requirements.txt");
    if fs::read_to_string(&installed).ok().as_deref() == Some(requirements) {
        return Ok(());
    }
    let names: Vec<&str> = requirements
        .lines()
        .filter_map(|line| line.split("==").next())
        .collect();
    println!("installing Python clients: {}", names.join(", "));
    checked(
        Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(environment),
    )?;
    checked(
        Command::new(environment.join("bin/pip"))
            .args(["install", "--quiet", "--disable-pip-version-check"])
            .args(requirements.lines()),
    )?;
    further()?;
    fs::write(&installed, requirements)
        .with_context(|| format!("cannot write {}", installed.display()))
}

/// Directory in which [`environment`] keeps the files that tests copy into guests.
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

/// Runs a command. Fails unless it succeeds.
pub(crate) fn checked(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot run {command:?}"))?;
    if !status.success() {
        bail!("{command:?} failed");
    }
    Ok(())
}
