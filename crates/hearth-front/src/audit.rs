//! The audit log: one JSON line for each request to an AWS service, appended to a file.
//!
//! | file | requests | kept |
//! |---|---|---|
//! | `audit.log` | with a verified signature | half a gigabyte; when the disk is slower than the clients, the clients wait |
//! | `audit-unverified.log` | all others | 128 MiB; what comes faster than the disk takes it is counted, not written |
//!
//! So unauthenticated clients cannot push out records of what accounts have done, and cannot make them wait. Lines go
//! through bounded queues to one thread for each file, which owns the file.

mod rotated_file;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use tokio::sync::mpsc;

use rotated_file::RotatedFile;

/// Lines that may wait in memory for the disk.
const QUEUE_LINES: usize = 1024;

/// Files of verified requests kept besides the current one: half a gigabyte, about three million requests.
const KEPT_FILES: u32 = 8;

/// Files of all other requests kept besides the current one: enough to see an attack of some hours.
const KEPT_UNVERIFIED_FILES: u32 = 1;

/// The name of the file of requests without a verified signature, beside the other one.
const UNVERIFIED: &str = "audit-unverified.log";

/// The record of one request. It has no payloads and no secrets.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entry {
    pub(crate) time: String,
    pub(crate) request_id: String,
    pub(crate) source: String,
    /// The account whose signature was verified.
    pub(crate) account: Option<String>,
    /// The access key that the request names, verified or not.
    pub(crate) access_key: Option<String>,
    pub(crate) service: &'static str,
    pub(crate) operation: Option<&'static str>,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) status: u16,
    pub(crate) error: Option<&'static str>,
    pub(crate) elapsed_ms: u64,
}

/// A line in the file of unverified requests: how many were not written because they came too fast.
#[derive(Debug, Serialize)]
struct Missed {
    missed: u64,
}

/// A handle for recording requests.
#[derive(Clone, Debug)]
pub struct AuditLog {
    verified: mpsc::Sender<Vec<u8>>,
    unverified: mpsc::Sender<Vec<u8>>,
    /// Unverified requests that were not written, since the last line that reported them.
    missed: Arc<AtomicU64>,
}

impl AuditLog {
    /// Opens the log at `path` and the log of unverified requests beside it, both for appending, and starts the
    /// threads that write them.
    ///
    /// # Errors
    ///
    /// A file cannot be opened, or a thread cannot be started.
    pub fn open(path: &Path) -> io::Result<Self> {
        let missed = Arc::new(AtomicU64::new(0));
        let verified = RotatedFile::open(path, KEPT_FILES)?;
        let unverified =
            RotatedFile::open(&path.with_file_name(UNVERIFIED), KEPT_UNVERIFIED_FILES)?;
        Ok(Self {
            verified: write_apart("audit", verified, Arc::default())?,
            unverified: write_apart("audit-unverified", unverified, Arc::clone(&missed))?,
            missed,
        })
    }

    /// Records a request. Waits for the disk only if the signature of the request was verified.
    pub(crate) async fn record(&self, entry: &Entry) {
        let Some(line) = line(entry) else {
            return;
        };
        if entry.account.is_none() {
            if self.unverified.try_send(line).is_err() {
                self.missed.fetch_add(1, Ordering::Relaxed);
            }
        } else if self.verified.send(line).await.is_err() {
            tracing::error!("audit log has ended");
        }
    }
}

/// Most lines that are written with one system call.
const BATCH_LINES: usize = 64;

/// Starts a thread that writes the lines it is sent, preceded by a line about missed ones, if any.
fn write_apart(
    name: &str,
    mut file: RotatedFile,
    missed: Arc<AtomicU64>,
) -> io::Result<mpsc::Sender<Vec<u8>>> {
    let (lines, mut queue) = mpsc::channel::<Vec<u8>>(QUEUE_LINES);
    let write = move || {
        let mut batch = Vec::with_capacity(BATCH_LINES);
        while queue.blocking_recv_many(&mut batch, BATCH_LINES) > 0 {
            let missed = match missed.swap(0, Ordering::Relaxed) {
                0 => None,
                missed => line(&Missed { missed }),
            };
            // What was missed came before.
            let mut lines = missed.unwrap_or_default();
            lines.extend(batch.concat());
            if let Err(error) = file.append(&lines) {
                tracing::error!(%error, "audit log cannot be written");
            }
            batch.clear();
        }
    };
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(write)?;
    Ok(lines)
}

fn line(entry: &impl Serialize) -> Option<Vec<u8>> {
    let mut line = serde_json::to_vec(entry).ok()?;
    line.push(b'\n');
    Some(line)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn entry(account: Option<&str>) -> Entry {
        Entry {
            time: "2026-01-01T00:00:00Z".to_owned(),
            request_id: "r".to_owned(),
            source: "127.0.0.1".to_owned(),
            account: account.map(str::to_owned),
            access_key: None,
            service: "lambda",
            operation: None,
            method: "GET".to_owned(),
            path: "/".to_owned(),
            status: 403,
            error: None,
            elapsed_ms: 0,
        }
    }

    fn lines(path: &Path) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(path).unwrap();
        // The last one may be half written as yet.
        let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
        let lines = whole
            .lines()
            .map(|line| serde_json::from_str(line).unwrap());
        lines.collect()
    }

    /// Finding M18: strangers rolled over the record of what accounts do. Here they leave no line in it, and each of
    /// their requests is written or counted.
    #[tokio::test]
    async fn strangers_have_a_file_of_their_own() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.log");
        let log = AuditLog::open(&path).unwrap();
        let strangers = 50 * QUEUE_LINES as u64;
        for _ in 0..strangers {
            log.record(&entry(None)).await;
        }
        log.record(&entry(Some("000000000001"))).await;
        let beside = path.with_file_name(UNVERIFIED);
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        let told = || {
            let missed = lines(&beside);
            let missed = missed
                .iter()
                .map(|line| line["missed"].as_u64().unwrap_or(1));
            missed.sum::<u64>()
        };
        let mut more = 0;
        while told() < strangers + more || lines(&path).is_empty() {
            assert!(std::time::Instant::now() < deadline, "{} are told", told());
            tokio::time::sleep(Duration::from_millis(20)).await;
            // What is missed is told before the next line.
            log.record(&entry(None)).await;
            more += 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let verified = lines(&path);
        assert_eq!(verified.len(), 1);
        assert_eq!(verified[0]["account"], "000000000001");
    }
}
