//! The demo's log: the output of this process and its children goes there, so that the terminal shows only the steps.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::stdio::{dup2_stderr, dup2_stdout};

use crate::lab;

/// Redirects standard output and standard error of this process to a file. Restored on drop.
pub(super) struct Log {
    path: PathBuf,
    stdout: OwnedFd,
    stderr: OwnedFd,
}

impl Log {
    /// Makes the file anew and begins.
    pub(super) fn begin(path: &Path) -> Result<Self> {
        fs::write(path, "").with_context(|| format!("cannot write {}", path.display()))?;
        let file = File::options().append(true).open(path)?;
        io::stdout().flush()?;
        let log = Self {
            path: path.to_owned(),
            stdout: io::stdout().as_fd().try_clone_to_owned()?,
            stderr: io::stderr().as_fd().try_clone_to_owned()?,
        };
        dup2_stdout(&file).context("cannot redirect the output")?;
        dup2_stderr(&file).context("cannot redirect the output")?;
        Ok(log)
    }

    /// What was standard output before.
    pub(super) fn output(&self) -> Result<File> {
        Ok(File::from(self.stdout.try_clone()?))
    }

    /// Its last lines.
    pub(super) fn tail(&self, lines: usize) -> String {
        let text = fs::read(&self.path).unwrap_or_default();
        lab::last_lines(&String::from_utf8_lossy(&text), lines)
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // What was buffered still belongs to the file. Nothing can be told where no output can be had.
        let _ = io::stdout().flush();
        let _ = dup2_stdout(&self.stdout);
        let _ = dup2_stderr(&self.stderr);
        if std::thread::panicking() {
            eprintln!("the demo panicked; {} says where", self.path.display());
        }
    }
}
