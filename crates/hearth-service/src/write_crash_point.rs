//! Ends the process right before or right after a write of the control plane, for the test that shows that no write
//! loses a microVM.
//!
//! Only in builds with debug assertions. The file `<data>/write-crash-point` chooses the write: `before 3` is before
//! the third write after the file was first seen. The file is removed when the process ends, since the next process counts
//! from the beginning.

use std::fs;
use std::path::{Path, PathBuf};

use hearth_control::store::CommitMoment;
use rustix::process::{Signal, getpid, kill_process};

/// Name of the file that chooses the write.
const FILE: &str = "write-crash-point";

/// The write at which a test wants this process to end.
pub(crate) struct WriteCrashPoint {
    file: PathBuf,
    /// The file's text at the last write, and the number of writes since that text was first seen.
    text: String,
    writes: u32,
}

impl WriteCrashPoint {
    pub(crate) fn new(data: &Path) -> Self {
        Self {
            file: data.join(FILE),
            text: String::new(),
            writes: 0,
        }
    }

    /// Ends the process if this is the chosen moment.
    pub(crate) fn reach(&mut self, moment: CommitMoment) {
        let text = fs::read_to_string(&self.file).unwrap_or_default();
        if text != self.text {
            (self.text, self.writes) = (text, 0);
        }
        let Some((side, write)) = parse(&self.text) else {
            return;
        };
        if moment == CommitMoment::Before {
            self.writes += 1;
        }
        if (side, write) == (moment, self.writes) {
            let _ = fs::remove_file(&self.file);
            let _ = kill_process(getpid(), Signal::KILL);
        }
    }
}

fn parse(text: &str) -> Option<(CommitMoment, u32)> {
    let (side, write) = text.trim().split_once(' ')?;
    let side = match side {
        "before" => CommitMoment::Before,
        "after" => CommitMoment::After,
        _ => return None,
    };
    Some((side, write.parse().ok()?))
}
