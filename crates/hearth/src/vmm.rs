//! `hearth vmm`: becomes `hearth-vmm`, the program that runs one microVM.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::cli::machine::VmmArguments;

pub(crate) fn run(arguments: &VmmArguments) -> Result<ExitCode> {
    let program = program()?;
    let error = Command::new(&program)
        .arg("--listen")
        .arg(&arguments.listen)
        .exec();
    Err(error).with_context(|| format!("cannot run {}", program.display()))
}

/// The program's file, which is installed beside this one.
pub(crate) fn program() -> Result<PathBuf> {
    let own = std::env::current_exe().context("cannot find this program's own file")?;
    Ok(own.with_file_name("hearth-vmm"))
}
