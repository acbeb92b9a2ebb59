//! Where the log of the service in the emulated host goes: to our standard error. If standard error is a terminal, it
//! shows only the messages of `hearth up` itself, and the log goes to a file.

use std::fs::{self, File};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};

/// Lines at the end of the log that are shown when a service has ended.
const LAST_LINES: usize = 8;

/// Largest log file, in bytes. One earlier file of the same size is kept.
const MAX_BYTES: u64 = 4 << 20;

/// A log of the service in the emulated host.
#[derive(Debug)]
pub(super) enum Log {
    StandardError,
    File(PathBuf, Mutex<LogFile>),
}

impl Log {
    /// In a file at `path` if standard error is a terminal.
    pub(super) fn open(path: &Path) -> Result<Self> {
        if !io::stderr().is_terminal() {
            return Ok(Self::StandardError);
        }
        let file = LogFile::create(path, MAX_BYTES)
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self::File(path.to_owned(), Mutex::new(file)))
    }

    /// The last lines of a log that went to a file, which the user has not seen.
    pub(super) fn unseen(&self) -> String {
        let Some(path) = self.path() else {
            return String::new();
        };
        let text = fs::read(path).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let last = lines[lines.len().saturating_sub(LAST_LINES)..].join("\n");
        format!("; the end of {}:\n{last}", path.display())
    }

    /// The path of the log, if it goes to a file.
    pub(super) fn path(&self) -> Option<&Path> {
        match self {
            Self::StandardError => None,
            Self::File(path, _) => Some(path),
        }
    }
}

impl Write for &Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Log::StandardError => io::stderr().write(bytes),
            Log::File(_, file) => {
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                // A service goes on without its log, for example on a full disk.
                let _ = file.write_all(bytes);
                Ok(bytes.len())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file that is rotated when it has become too large.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    written: u64,
    max_bytes: u64,
}

impl LogFile {
    fn create(path: &Path, max_bytes: u64) -> io::Result<Self> {
        // The earlier file is kept: it may say why the earlier service ended.
        match fs::rename(path, before(path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = File::options();
        let options = options.write(true).create(true).truncate(true).mode(0o600);
        Ok(Self {
            file: options.open(path)?,
            path: path.to_owned(),
            written: 0,
            max_bytes,
        })
    }
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.written >= self.max_bytes {
            *self = Self::create(&self.path, self.max_bytes)?;
        }
        let count = self.file.write(bytes)?;
        self.written += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Where the earlier file is kept.
fn before(path: &Path) -> PathBuf {
    path.with_extension("log.1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_in_a_file_is_bounded_and_its_last_part_is_kept() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("service.log");
        fs::write(&path, "an earlier start\n").unwrap();
        let mut log = LogFile::create(&path, 8).unwrap();
        let text = |path: &Path| fs::read_to_string(path).unwrap();
        assert_eq!(text(&before(&path)), "an earlier start\n");
        for line in ["first\n", "second\n", "third\n"] {
            log.write_all(line.as_bytes()).unwrap();
        }
        assert_eq!(text(&path), "third\n");
        assert_eq!(text(&before(&path)), "first\nsecond\n");
        let unseen = Log::File(path, Mutex::new(log)).unseen();
        assert!(unseen.ends_with("service.log:\nthird"), "{unseen}");
    }
}
