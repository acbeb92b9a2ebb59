//! Ends the process right before or right after a write of the control plane, for the test that shows that nothing is lost then.
//!
//! Only in builds with debug assertions. `<data>/write-crash-point` says when: `before 3` is before the third write from when the
//! file is seen on. A process of a later start counts anew, so the file goes when it has done its work.

use std::fs;
use std::path::{Path, PathBuf};

use hearth_control::store::CommitMoment;
use rustix::process::{Signal, getpid, kill_process};

/// Name of the file that says when.
const FILE: &str = "write-crash-point";

/// The write at which a test wants this process to end.
pub(crate) struct WriteCrashPoint {
    file: PathBuf,
    /// What the file said at the last write, and how many there were since it says so.
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

    /// Does not return when the moment is the one.
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
