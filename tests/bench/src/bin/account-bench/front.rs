//! The front as a process of its own, with the rates of the service.

use std::io::{BufRead as _, BufReader};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use serde::Deserialize;
use tempfile::TempDir;

use crate::request::Account;

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

/// An access key that it knows: one for each of two accounts.
#[derive(Debug, Deserialize)]
struct Key {
    id: String,
    secret: String,
    account: String,
}

impl Front {
    pub(crate) fn start(program: &Path) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let mut process = Command::new(program)
            .arg(directory.path())
            .arg("--as-the-service")
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

    /// What it takes of this machine's memory, in MiB: now, and the most so far.
    pub(crate) fn memory_mib(&self) -> Result<(f64, f64)> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let mib = |name: &str| -> Result<f64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|line| line.trim().strip_suffix("kB"));
            Ok(kib
                .context("the kernel does not tell")?
                .trim()
                .parse::<f64>()?
                / 1024.0)
        };
        Ok((mib("VmRSS:")?, mib("VmHWM:")?))
    }

    pub(crate) fn account(&self, index: usize, from: Ipv4Addr) -> Result<Account> {
        let key = self.announced.keys.get(index).context("no such account")?;
        let host = self.announced.url.trim_start_matches("http://");
        Ok(Account {
            host: host.to_owned(),
            region: self.announced.region.clone(),
            number: key.account.clone(),
            key_id: key.id.clone(),
            secret: key.secret.clone(),
            from,
        })
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        // The end of its input is its end.
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}
