//! Debian's image registry, for the tests of builds. Its package starts a service when it is installed, so it is only
//! unpacked.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::workspace::lab_dir;

/// The variable that tells tests the path of the program.
pub(crate) const REGISTRY_VARIABLE: &str = "HEARTH_TEST_REGISTRY";

const PACKAGE: &str = "docker-registry";

/// Path of the program. It is downloaded at the first call.
pub(crate) fn program() -> Result<PathBuf> {
    let place = lab_dir().join("registry");
    let program = place.join("usr/bin/docker-registry");
    if program.exists() {
        return Ok(program);
    }
    // One of its own for each process: tests run in parallel.
    let download = place.join(std::process::id().to_string());
    fs::create_dir_all(&download)?;
    run(&download, "apt-get", &["-qq", "download", PACKAGE])?;
    let packages = fs::read_dir(&download)?.flatten();
    let package = packages
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .with_context(|| format!("apt-get download brought no package {PACKAGE}"))?;
    let unpacked = download.join("unpacked");
    let paths = [&package, &unpacked].map(|path| path.display().to_string());
    run(&download, "dpkg-deb", &["-x", &paths[0], &paths[1]])?;
    fs::create_dir_all(program.parent().unwrap_or(&place))?;
    fs::rename(unpacked.join("usr/bin/docker-registry"), &program)?;
    fs::remove_dir_all(&download)?;
    Ok(program)
}

fn run(directory: &Path, program: &str, arguments: &[&str]) -> Result<()> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .output()
        .with_context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{program} {} failed: {}", arguments.join(" "), said.trim());
    }
    Ok(())
}
