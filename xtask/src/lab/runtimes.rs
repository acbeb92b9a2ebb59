//! A runtime of Lambda functions: built once on this machine, and copied into the lab for the tests that need it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use hearth_image::{RuntimeOptions, Runtimes, build_runtime};

use super::bases::send_sparse;
use super::session::Session;
use super::{data_dir, session};

/// The variable that tells tests the path of the runtimes.
pub(crate) const RUNTIMES_VARIABLE: &str = "HEARTH_TEST_RUNTIMES";

/// The path of the runtimes in the lab.
const GUEST_RUNTIMES: &str = "/data/runtimes";

/// The runtime that tests use.
const TESTED: &str = "python3.11";

/// The directory of the runtimes on this machine. The tested one is built if it is not there yet.
pub(crate) fn prepare() -> Result<PathBuf> {
    let runtimes = Runtimes::new(data_dir().join("runtimes"));
    let options = RuntimeOptions {
        runtimes: runtimes.clone(),
        sources: Vec::new(),
        progress: &session::say,
    };
    build_runtime(&options, TESTED, false)?;
    Ok(runtimes.directory().to_owned())
}

/// Copies the tested runtime into the lab and answers the path of all. No-op if it is there.
pub(crate) fn send(session: &Session, directory: &Path) -> Result<&'static str> {
    // Tests run in parallel, and one sending serves them all.
    let _lock = session::lock()?;
    let newest = Runtimes::new(directory.to_owned()).newest(TESTED)?;
    let files = newest.context("the runtime is gone")?.files();
    let inside = |path: &Path| -> Result<PathBuf> {
        Ok(Path::new(GUEST_RUNTIMES).join(path.strip_prefix(directory)?))
    };
    // The record is copied last: if it is there, the runtime is complete.
    let [.., record] = &files;
    let text = fs::read(record)?;
    let path = inside(record)?.display().to_string();
    if session
        .fetch(&path, text.len())
        .is_ok_and(|there| there == text)
    {
        return Ok(GUEST_RUNTIMES);
    }
    session::say("sending the runtime of functions");
    for file in &files {
        match file.extension().is_some_and(|ending| ending == "ext4") {
            true => send_sparse(session, file, &inside(file)?)?,
            false => session.send(file, &inside(file)?)?,
        }
    }
    Ok(GUEST_RUNTIMES)
}
