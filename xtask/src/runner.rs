//! `cargo xtask runner`: a cargo target runner for test binaries that need KVM.
//!
//! Set as `CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER` (`cargo xtask test` and `lab-test` do), it receives every test
//! binary that cargo or nextest wants to run. Unit tests and listings run here; integration tests (`tests/*.rs`
//! of a crate) run where KVM works: here if it does, else inside the emulated host. A test under which the
//! emulated host died is run once more, on a new one, and says so.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::lab::{self, Ended, Session, Shape};
use crate::place::{self, Place};
use crate::workspace::Binaries;

/// Variables that the command which starts many runners sets: the built binaries, and where tests run.
pub(crate) const HEARTH_VARIABLE: &str = "HEARTH_XTASK_HEARTH";
pub(crate) const AGENT_VARIABLE: &str = "HEARTH_XTASK_AGENT";
pub(crate) const PLACE_VARIABLE: &str = "HEARTH_XTASK_PLACE";

/// Arguments of `runner`: what cargo appends.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The test binary.
    binary: PathBuf,
    /// Its arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// The command `runner`.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    if needs_no_machine(arguments) {
        return run_here(arguments, &BTreeMap::new());
    }
    let binaries = prebuilt().map_or_else(Binaries::build, Ok)?;
    let place = std::env::var(PLACE_VARIABLE)
        .ok()
        .and_then(|name| Place::from_name(&name))
        .map_or_else(|| place::find(&binaries), Ok)?;
    match place {
        Place::Here => {
            let mut environment = lab::native_environment(&binaries)?;
            if needs_bases() {
                let bases = lab::prepare_bases()?.display().to_string();
                environment.insert(lab::BASES_VARIABLE.into(), bases);
                let registry = lab::registry_program()?.display().to_string();
                environment.insert(lab::REGISTRY_VARIABLE.into(), registry);
            }
            if needs_runtimes() {
                let runtimes = lab::prepare_runtimes()?.display().to_string();
                environment.insert(lab::RUNTIMES_VARIABLE.into(), runtimes);
            }
            run_here(arguments, &environment)
        }
        Place::Lab => run_in_lab(arguments, &binaries),
    }
}

/// Replaces this process by the test.
fn run_here(arguments: &Arguments, environment: &BTreeMap<String, String>) -> Result<ExitCode> {
    let error = Command::new(&arguments.binary)
        .args(&arguments.arguments)
        .envs(environment)
        .exec();
    Err(error).with_context(|| format!("cannot run {}", arguments.binary.display()))
}

fn run_in_lab(arguments: &Arguments, binaries: &Binaries) -> Result<ExitCode> {
    let death = match try_in_lab(arguments, binaries)? {
        Ended::Status(code) => return Ok(ExitCode::from(code)),
        Ended::HostDied(death) => death,
    };
    eprintln!("lab: {death}; running this test once more on a new one");
    match try_in_lab(arguments, binaries)? {
        Ended::Status(code) => Ok(ExitCode::from(code)),
        Ended::HostDied(death) => bail!("{death}, for the second time under the same test"),
    }
}

fn try_in_lab(arguments: &Arguments, binaries: &Binaries) -> Result<Ended> {
    let session = Session::open(&Shape::from_environment(), binaries, lab::Boot::Reuse)?;
    let binary = std::path::absolute(&arguments.binary)?;
    session.send(&binary, &binary)?;
    for program in programs_of_package() {
        session.send(&program, &program)?;
    }
    // Programs of the same package that the test starts or hands to a guest.
    for (_, program) in std::env::vars().filter(|(name, _)| name.starts_with("CARGO_BIN_EXE_")) {
        session.send(Path::new(&program), Path::new(&program))?;
    }
    let mut argv = vec![binary.display().to_string()];
    argv.extend(arguments.arguments.iter().cloned());
    let mut environment = session.environment(&test_environment());
    if needs_bases() {
        let bases = lab::send_bases(&session, &lab::prepare_bases()?)?;
        environment.insert(lab::BASES_VARIABLE.into(), bases.into());
        let registry = lab::registry_program()?;
        for file in hearth_emulated::with_libraries(&registry)? {
            session.send(&file, &file)?;
        }
        let registry = registry.display().to_string();
        environment.insert(lab::REGISTRY_VARIABLE.into(), registry);
    }
    if needs_runtimes() {
        let runtimes = lab::send_runtimes(&session, &lab::prepare_runtimes()?)?;
        environment.insert(lab::RUNTIMES_VARIABLE.into(), runtimes.into());
    }
    session.exec(&argv, &environment, "/data/tmp", lab::Input::Empty)
}

/// Whether the test belongs to the package that builds images. The bases are too large to be copied for every test.
fn needs_bases() -> bool {
    std::env::var("CARGO_PKG_NAME").is_ok_and(|package| package == "hearth-image")
}

/// Whether the test belongs to the package that runs environments of functions.
fn needs_runtimes() -> bool {
    std::env::var("CARGO_PKG_NAME").is_ok_and(|package| package == "hearth-host")
}

fn prebuilt() -> Option<Binaries> {
    Some(Binaries {
        hearth: std::env::var_os(HEARTH_VARIABLE)?.into(),
        agent: std::env::var_os(AGENT_VARIABLE)?.into(),
    })
}

/// Listings and unit tests run here.
fn needs_no_machine(arguments: &Arguments) -> bool {
    let is_listing = arguments.arguments.iter().any(|word| word == "--list");
    is_listing || std::env::var("NEXTEST_BINARY_ID").is_ok_and(|identity| is_unit_test(&identity))
}

/// nextest names integration tests `package::test`, unit tests `package` or `package::bin/name`. cargo test names
/// neither, so all that it runs goes where KVM works, and there everything runs.
fn is_unit_test(identity: &str) -> bool {
    identity
        .split_once("::")
        .is_none_or(|(_, target)| target.contains('/'))
}

/// The binaries of the test's own package, which it may start: cargo and nextest name them in variables.
fn programs_of_package() -> Vec<PathBuf> {
    std::env::vars_os()
        .filter(|(name, _)| {
            let name = name.to_string_lossy();
            name.starts_with("CARGO_BIN_EXE_") || name.starts_with("NEXTEST_BIN_EXE_")
        })
        .map(|(_, path)| PathBuf::from(path))
        .filter(|path| path.is_file())
        .collect()
}

fn test_environment() -> BTreeMap<String, String> {
    let mut environment = lab::forwarded_environment();
    environment.extend(std::env::vars().filter(|(name, _)| name.starts_with("CARGO_")));
    environment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_integration_tests_need_a_machine() {
        assert!(is_unit_test("hearth-vmm"));
        assert!(is_unit_test("hearth::bin/hearth"));
        assert!(!is_unit_test("hearth-vmm::boot"));
    }
}
