//! The application and the endpoint as processes: they share no runtime with the client, and end when their standard
//! input ends.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use serde::Deserialize;
use tempfile::TempDir;

use crate::client::Subject;

/// A process that says one line and then serves.
struct Process(Child);

impl Process {
    fn start(command: &mut Command) -> Result<(Self, String)> {
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.with_context(|| format!("cannot run {command:?}"))?;
        let output = child.stdout.take().context("no output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        Ok((Self(child), line))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The end of its input is its end.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// The application.
pub(crate) struct Application {
    pub(crate) port: u16,
    _process: Process,
}

impl Application {
    pub(crate) fn start() -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let (process, line) = Process::start(command.arg("--application"))?;
        Ok(Self {
            port: line
                .trim()
                .parse()
                .context("the application did not say where it is")?,
            _process: process,
        })
    }
}

/// What the endpoint says of itself.
#[derive(Debug, Deserialize)]
struct Announced {
    endpoint: String,
    ca_bundle: PathBuf,
    token: String,
}

/// The endpoint.
pub(crate) struct Endpoint {
    announced: Announced,
    _process: Process,
    _directory: TempDir,
}

impl Endpoint {
    pub(crate) fn start(program: &Path) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let (process, line) = Process::start(Command::new(program).arg(directory.path()))?;
        Ok(Self {
            announced: serde_json::from_str(&line)
                .context("the endpoint did not say where it is")?,
            _process: process,
            _directory: directory,
        })
    }

    pub(crate) fn subject(&self, port: u16) -> Result<Subject> {
        let trusted = fs::read(&self.announced.ca_bundle)?;
        let headers = vec![
            ("x-aws-proxy-auth".to_owned(), self.announced.token.clone()),
            ("x-aws-proxy-port".to_owned(), port.to_string()),
        ];
        Subject::over_tls(
            "hearth",
            self.announced.endpoint.parse()?,
            &trusted,
            headers,
        )
    }
}
