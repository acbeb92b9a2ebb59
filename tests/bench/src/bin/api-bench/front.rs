//! The front as a process of its own, so that caller and called share no runtime.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use serde::Deserialize;
use tempfile::TempDir;

/// A front that serves; it ends with this value.
pub(crate) struct Front {
    process: Child,
    announced: Announced,
    _directory: TempDir,
}

/// What it says of itself.
#[derive(Debug, Deserialize)]
struct Announced {
    url: String,
    region: String,
    keys: Vec<Key>,
}

/// An access key that it knows.
#[derive(Debug, Deserialize)]
pub(crate) struct Key {
    pub(crate) id: String,
    pub(crate) secret: String,
}

impl Front {
    pub(crate) fn start(program: &Path) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let mut process = Command::new(program)
            .arg(directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let output = process.stdout.take().context("no output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        Ok(Self {
            announced: serde_json::from_str(&line).context("the front did not say where it is")?,
            process,
            _directory: directory,
        })
    }

    /// Host and port.
    pub(crate) fn authority(&self) -> &str {
        self.announced.url.trim_start_matches("http://")
    }

    pub(crate) fn region(&self) -> &str {
        &self.announced.region
    }

    pub(crate) fn key(&self) -> Result<&Key> {
        self.announced.keys.first().context("no key")
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        // The end of its input is its end.
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}
