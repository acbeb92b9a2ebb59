//! The audit log: one JSON line for each request to an AWS service, appended before it is forgotten.
//!
//! Lines go through a bounded queue to one thread that owns the file; when the disk is slower than
//! the clients, the clients wait. The file is rotated by size and the oldest parts are removed.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use tokio::sync::mpsc;

/// Lines that may wait for the disk.
const QUEUE_LINES: usize = 1024;

/// Size at which a new file is begun.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// Files kept besides the current one: half a gigabyte, about three million requests.
const KEPT_FILES: u32 = 8;

/// One request, as the audit log tells it. No payloads and no secrets.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entry {
    pub(crate) time: String,
    pub(crate) request_id: String,
    pub(crate) source: String,
    pub(crate) account: Option<String>,
    pub(crate) access_key: Option<String>,
    pub(crate) service: &'static str,
    pub(crate) operation: Option<&'static str>,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) status: u16,
    pub(crate) error: Option<&'static str>,
    pub(crate) elapsed_ms: u64,
}

/// The handle through which requests are recorded.
#[derive(Clone, Debug)]
pub struct AuditLog {
    lines: mpsc::Sender<Vec<u8>>,
}

impl AuditLog {
    /// Opens (appends to) the log at `path` and starts the thread that writes it.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut writer = Writer::open(path)?;
        let (lines, mut queue) = mpsc::channel::<Vec<u8>>(QUEUE_LINES);
        std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || {
                while let Some(line) = queue.blocking_recv() {
                    if let Err(error) = writer.append(&line) {
                        tracing::error!(%error, "audit log cannot be written");
                    }
                }
            })?;
        Ok(Self { lines })
    }

    pub(crate) async fn record(&self, entry: &Entry) {
        let Ok(mut line) = serde_json::to_vec(entry) else {
            return;
        };
        line.push(b'\n');
        if self.lines.send(line).await.is_err() {
            tracing::error!("audit log has ended");
        }
    }
}

struct Writer {
    path: PathBuf,
    file: File,
    size_bytes: u64,
}

impl Writer {
    fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(path)?;
        let size_bytes = file.metadata()?.len();
        Ok(Self {
            path: path.to_owned(),
            file,
            size_bytes,
        })
    }

    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        if self.size_bytes + line.len() as u64 > MAX_FILE_BYTES {
            self.rotate()?;
        }
        self.file.write_all(line)?;
        self.size_bytes += line.len() as u64;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        for number in (1..KEPT_FILES).rev() {
            let older = self.numbered(number + 1);
            match std::fs::rename(self.numbered(number), older) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        std::fs::rename(&self.path, self.numbered(1))?;
        *self = Self::open(&self.path)?;
        Ok(())
    }

    fn numbered(&self, number: u32) -> PathBuf {
        self.path.with_extension(format!("log.{number}"))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn old_files_go_and_nobody_else_reads_any() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.log");
        for number in 0..20_u64 {
            let mut writer = Writer::open(&path).unwrap();
            writer.size_bytes = MAX_FILE_BYTES;
            writer.append(format!("{number}\n").as_bytes()).unwrap();
        }
        let files: Vec<_> = std::fs::read_dir(directory.path())
            .unwrap()
            .flatten()
            .collect();
        assert_eq!(files.len(), KEPT_FILES as usize + 1);
        for file in files {
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
        let oldest = std::fs::read(directory.path().join(format!("audit.log.{KEPT_FILES}")));
        assert_eq!(oldest.unwrap(), b"11\n");
    }

    #[test]
    fn a_full_file_makes_room() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.log");
        let mut writer = Writer::open(&path).unwrap();
        writer.append(b"first\n").unwrap();
        writer.size_bytes = MAX_FILE_BYTES;
        writer.append(b"second\n").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"second\n");
        assert_eq!(
            std::fs::read(directory.path().join("audit.log.1")).unwrap(),
            b"first\n"
        );
    }
}
