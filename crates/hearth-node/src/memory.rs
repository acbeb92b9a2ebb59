//! Measures the host memory of a microVM.

use std::fs;

use crate::record::ProcessRecord;

/// Resident memory of one VMM process, guest RAM included.
///
/// RAM is a private mapping of snapshot files. Pages that the guest wrote are anonymous memory of this process alone.
/// Pages that it only read are the files' page cache, which all clones of a version share. The kernel counts the two
/// separately, so that no page table has to be walked as for `smaps_rollup`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessMemory {
    /// Memory of this process alone, in bytes.
    pub private_bytes: u64,
    /// Memory of mapped files, in bytes. It may be counted for other processes too.
    pub shared_bytes: u64,
}

impl ProcessRecord {
    /// The current memory of the process; `None` if it has ended.
    #[must_use]
    pub fn memory(&self) -> Option<ProcessMemory> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        // Asked after, so that what was read is not another's.
        self.is_alive().then(|| parse(&status))?
    }
}

/// proc_pid_status(5): `RssAnon:      1234 kB`.
fn parse(status: &str) -> Option<ProcessMemory> {
    let kib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_end_matches("kB").trim().parse::<u64>().ok()
    };
    Some(ProcessMemory {
        private_bytes: kib("RssAnon:")? * 1024,
        shared_bytes: (kib("RssFile:")? + kib("RssShmem:")?) * 1024,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_writes_is_its_own() {
        let own = ProcessRecord::of(std::process::id()).unwrap();
        let before = own.memory().unwrap();
        assert!(before.shared_bytes > 0, "the program itself is a file");
        let written = std::hint::black_box(vec![1_u8; 64 << 20]);
        let after = own.memory().unwrap();
        assert!(
            after.private_bytes >= before.private_bytes + (60 << 20),
            "{before:?} {after:?}"
        );
        drop(written);
        let other = ProcessRecord {
            start_ticks: own.start_ticks + 1,
            ..own
        };
        assert_eq!(other.memory(), None);
    }
}
