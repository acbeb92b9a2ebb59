//! Which process is `hearth up` of a data directory: `up.json`, for `hearth down` and `hearth status`.
//!
//! The record holds the process's start time too, since pids are used again. A second `hearth up` of the same directory
//! does not overwrite the record while the first one runs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use hearth_node::ProcessRecord;

/// The record of a running `hearth up`; removed when dropped.
pub(crate) struct UpRecord {
    path: PathBuf,
    process: ProcessRecord,
}

fn path(data: &Path) -> PathBuf {
    data.join("up.json")
}

impl UpRecord {
    /// Records this process.
    pub(crate) fn write(data: &Path) -> Result<Self> {
        if let Some(other) = Self::running(data)? {
            bail!(
                "another hearth ({}) uses {}; stop it first with `hearth down`, or choose another --data",
                other.pid,
                data.display()
            );
        }
        let process = ProcessRecord::of(std::process::id()).context("/proc does not show us")?;
        let path = path(data);
        fs::create_dir_all(data)
            .with_context(|| format!("cannot make the directory {}", data.display()))?;
        // Written atomically: a torn record would name no process.
        let beside = path.with_extension("new");
        fs::write(&beside, serde_json::to_vec(&process)?)
            .and_then(|()| fs::rename(&beside, &path))
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { path, process })
    }

    /// The process that runs `hearth up` with this data directory.
    pub(crate) fn running(data: &Path) -> Result<Option<ProcessRecord>> {
        let path = path(data);
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.with_context(|| format!("cannot read {}", path.display()))?,
        };
        let process: ProcessRecord = serde_json::from_slice(&text)
            .with_context(|| format!("{} is not what `hearth up` writes", path.display()))?;
        Ok(process.is_alive().then_some(process))
    }
}

impl Drop for UpRecord {
    fn drop(&mut self) {
        let data = self.path.parent().unwrap_or(Path::new("."));
        // The record of another process must stay.
        if Self::running(data).is_ok_and(|running| running == Some(self.process)) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_directory_has_one_hearth_up() {
        let data = tempfile::tempdir().unwrap();
        assert!(UpRecord::running(data.path()).unwrap().is_none());
        let record = UpRecord::write(data.path()).unwrap();
        let running = UpRecord::running(data.path()).unwrap().unwrap();
        assert_eq!(running.pid, std::process::id());
        assert!(UpRecord::write(data.path()).is_err());
        drop(record);
        assert!(!path(data.path()).exists());
    }

    #[test]
    fn a_number_that_was_used_again_is_another_process() {
        let data = tempfile::tempdir().unwrap();
        let mut process = ProcessRecord::of(std::process::id()).unwrap();
        process.start_ticks += 1;
        fs::write(path(data.path()), serde_json::to_vec(&process).unwrap()).unwrap();
        assert!(UpRecord::running(data.path()).unwrap().is_none());
        UpRecord::write(data.path()).unwrap();
    }
}
