//! The record of a running emulated host, by which another process finds it again.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::qemu::PortForward;

/// Content of `host.json`: 0600, because the token opens a root shell in the emulated host.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) pid: i32,
    /// Field 22 of `/proc/<pid>/stat`: tells the process from a later one with the same number.
    pub(crate) start_ticks: u64,
    pub(crate) agent_port: u16,
    pub(crate) token: [u8; 32],
    pub(crate) cpus: u8,
    pub(crate) memory_mib: u32,
    /// Ports that lead inside, beside the agent's.
    #[serde(default)]
    pub(crate) forwards: Vec<PortForward>,
}

impl Record {
    /// Reads the record at `path`; `None` if it is absent or torn.
    pub(crate) fn read(path: &Path) -> io::Result<Option<Self>> {
        match fs::read(path) {
            Ok(text) => Ok(serde_json::from_slice(&text).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes the record atomically.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let unfinished = path.with_extension("unfinished");
        let mut file = private_file(&unfinished)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        fs::rename(&unfinished, path)
    }

    /// Whether the process of the record still runs.
    pub(crate) fn is_alive(&self) -> bool {
        start_ticks(self.pid).is_ok_and(|ticks| ticks == self.start_ticks)
    }
}

/// Creates (or empties) a file that only its owner reads.
pub(crate) fn private_file(path: &Path) -> io::Result<fs::File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
}

/// When the process `pid` started, in clock ticks since boot; an error when it is gone or a zombie.
pub(crate) fn start_ticks(pid: i32) -> io::Result<u64> {
    parse_start_ticks(&fs::read_to_string(format!("/proc/{pid}/stat"))?)
        .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
}

/// proc_pid_stat(5): the command name is in parentheses and may hold anything, so fields are counted after it.
fn parse_start_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let state = fields.next()?;
    // State is field 3; nth(18) after it is field 22.
    let ticks = fields.nth(18)?.parse().ok()?;
    (state != "Z" && state != "X").then_some(ticks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_the_22nd_field() {
        let stat = "42 (a) b) c) S 1 42 42 0 -1 4194560 1 0 0 0 1 2 0 0 20 0 1 0 98765 1 1 1";
        assert_eq!(parse_start_ticks(stat), Some(98_765));
        assert_eq!(parse_start_ticks(&stat.replace(" S ", " Z ")), None);
    }

    #[test]
    fn this_process_is_alive() {
        let pid = std::process::id() as i32;
        let record = Record {
            pid,
            start_ticks: start_ticks(pid).unwrap(),
            agent_port: 1,
            token: [0; 32],
            cpus: 1,
            memory_mib: 1,
            forwards: Vec::new(),
        };
        assert!(record.is_alive());
        let other = Record {
            start_ticks: record.start_ticks + 1,
            ..record
        };
        assert!(!other.is_alive());
    }

    #[test]
    fn a_record_is_private_and_survives() {
        use std::os::unix::fs::PermissionsExt;
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("host.json");
        assert!(Record::read(&path).unwrap().is_none());
        let record = Record {
            pid: 7,
            start_ticks: 8,
            agent_port: 9,
            token: [1; 32],
            cpus: 1,
            memory_mib: 2048,
            forwards: Vec::new(),
        };
        record.write(&path).unwrap();
        assert_eq!(Record::read(&path).unwrap().unwrap().agent_port, 9);
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
}
