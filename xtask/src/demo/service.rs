//! Runs `hearth up` as a step of the demo: its output goes to the log, and the steps that it announces are shown.

use std::io::{BufRead, BufReader, PipeReader};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use anyhow::{Context, Result};

use super::screen::Screen;
use super::steps::Step;
use crate::up::Up;
use crate::workspace::Binaries;

/// Longest wait for the last output of an ended service to reach the log.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A service whose output goes to the log.
pub(super) struct Service {
    // Dropped first, so that the service has ended before its last output is awaited.
    up: Option<Up>,
    /// Closed when all output is in the log.
    logged: Receiver<()>,
}

impl Service {
    /// Starts it and waits until it serves.
    pub(super) fn start(binaries: &Binaries, data: &Path, screen: &Arc<Screen>) -> Result<Self> {
        let (reader, writer) = std::io::pipe().context("cannot make a pipe")?;
        let (done, logged) = mpsc::channel();
        let shown = Arc::clone(screen);
        std::thread::spawn(move || {
            log(reader, &shown);
            drop(done);
        });
        let up = Up::start(binaries, data, Stdio::from(writer), &[])?;
        let mut service = Self {
            up: Some(up),
            logged,
        };
        if let Some(up) = &mut service.up {
            up.wait_until_serving()?;
        }
        Ok(service)
    }

    /// Stops the service, as Ctrl-C does.
    pub(super) fn stop(mut self) -> Result<()> {
        self.up.take().map_or(Ok(()), |mut up| up.stop())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.up.take());
        // Microvms that outlive it may hold its output open; then this is all there is.
        let _ = self.logged.recv_timeout(LAST_WORDS);
    }
}

fn log(output: PipeReader, screen: &Screen) {
    for line in BufReader::new(output).split(b'\n') {
        let Ok(line) = line else { return };
        let line = String::from_utf8_lossy(&line);
        eprintln!("{line}");
        if let Some(announced) = announced(&line) {
            screen.detail(Step::Start, announced);
        }
    }
}

/// The slow step that a line announces: Hearth's programs end such a line with three dots.
fn announced(line: &str) -> Option<&str> {
    line.strip_suffix(" ...")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announcements_are_told_from_the_log() {
        let line = "booting the emulated host ...";
        assert_eq!(announced(line), Some("booting the emulated host"));
        let line = "2026-12-01T10:00:00Z  INFO hearth_service: listening";
        assert_eq!(announced(line), None);
    }
}
