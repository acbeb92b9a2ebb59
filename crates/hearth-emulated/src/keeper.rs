//! Which process keeps an emulated host running, and so may stop it.
//!
//! `<state>/keeper` is locked by that process as long as it lives, and holds its id for messages. A host whose keeper was
//! killed has none, until another process begins to keep it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::host::HostStartError;

/// The right to stop the emulated host of a directory. Given back on drop.
#[derive(Debug)]
pub(crate) struct Keeper {
    _locked: File,
}

impl Keeper {
    /// Takes the right, unless another process has it.
    pub(crate) fn of(state_dir: &Path) -> Result<Self, HostStartError> {
        let failed = |source| HostStartError::Directory {
            path: state_dir.to_owned(),
            source,
        };
        let path = state_dir.join("keeper");
        let mut file = open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let pid = fs::read_to_string(&path).unwrap_or_default();
                return Err(HostStartError::Kept {
                    path: state_dir.to_owned(),
                    pid: pid.trim().parse().ok(),
                });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        file.set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(failed)?;
        Ok(Self { _locked: file })
    }
}

/// Opens the file without emptying it: another process may have it.
fn open(path: &Path) -> io::Result<File> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_keeps_a_host() {
        let scratch = tempfile::tempdir().unwrap();
        let state = scratch.path().join("emulated");
        let keeper = Keeper::of(&state).unwrap();
        let second = Keeper::of(&state).unwrap_err();
        let HostStartError::Kept { pid, .. } = &second else {
            panic!("{second}");
        };
        assert_eq!(*pid, Some(std::process::id()));
        assert!(second.to_string().contains("keeps"), "{second}");
        drop(keeper);
        Keeper::of(&state).unwrap();
    }
}
