//! The application's cgroup: freezes, kills and measures its processes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;
use tokio::time::Instant;

use crate::fault::{Fault, Step};

/// The group that is frozen and measured.
const GROUP: &str = "/sys/fs/cgroup/app";

/// The group of the processes. The application sees it as the root of all cgroups, so that the frozen group above is
/// out of its reach, whatever its capabilities.
const PAYLOAD: &str = "/sys/fs/cgroup/app/payload";

/// Beginning of the names of groups below [`PAYLOAD`], one for each program of a function.
const PROGRAM: &str = "program-";

/// Controllers that the application's statistics come from, and that a nested container engine wants.
const CONTROLLERS: &[&str] = &["cpu", "memory", "pids", "io"];

/// Longest wait until all processes are frozen. A process freezes when it next returns from the kernel, which can take
/// a while if it waits for a disk.
const FREEZE_DEADLINE: Duration = Duration::from_secs(10);

/// Polling interval while processes are freezing.
const FREEZE_POLL: Duration = Duration::from_millis(1);

/// Creates the groups. Idempotent.
pub(crate) fn create() -> Result<(), Fault> {
    enable_controllers("/sys/fs/cgroup");
    make_directory(GROUP)?;
    enable_controllers(GROUP);
    make_directory(PAYLOAD)
}

fn make_directory(path: &str) -> Result<(), Fault> {
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(error).step_with(|| format!("make {path}"))
        }
        _ => Ok(()),
    }
}

/// Enables the controllers one by one. Best effort: a kernel may lack some of them, and nothing essential depends on
/// any.
fn enable_controllers(group: &str) {
    let control = Path::new(group).join("cgroup.subtree_control");
    for controller in CONTROLLERS {
        let _ = fs::write(&control, format!("+{controller}"));
    }
}

/// Moves the calling process into the application's group.
pub(crate) fn join() -> Result<(), Fault> {
    fs::write(Path::new(PAYLOAD).join("cgroup.procs"), "0").step("join the application's cgroup")
}

/// Limits what all processes together may use: memory in bytes, and processes.
pub(crate) fn limit(memory_bytes: u64, processes: u32) -> Result<(), Fault> {
    let write = |file: &str, value: String| {
        fs::write(Path::new(GROUP).join(file), value).step_with(|| format!("set {file}"))
    };
    write("memory.max", memory_bytes.to_string())?;
    write("pids.max", processes.to_string())
}

/// A group for one program of a function and all that it forks. On drop all of them are killed.
#[derive(Debug)]
pub(crate) struct ProgramGroup(PathBuf);

impl ProgramGroup {
    /// Makes a group, and removes those of programs that have ended.
    pub(crate) fn make(number: u64) -> Result<Self, Fault> {
        for entry in fs::read_dir(PAYLOAD).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(PROGRAM) {
                // One whose processes still run cannot be removed.
                let _ = fs::remove_dir(entry.path());
            }
        }
        let path = Path::new(PAYLOAD).join(format!("{PROGRAM}{number}"));
        fs::create_dir(&path).step("make the cgroup of a program")?;
        Ok(Self(path))
    }

    /// Moves the calling process into it.
    pub(crate) fn join(&self) -> Result<(), Fault> {
        fs::write(self.0.join("cgroup.procs"), "0").step("join the cgroup of a program")
    }

    /// Kills all its processes. They may take a moment to end.
    pub(crate) fn kill(&self) {
        // It fails only when the group is gone.
        let _ = fs::write(self.0.join("cgroup.kill"), "1");
    }
}

impl Drop for ProgramGroup {
    fn drop(&mut self) {
        self.kill();
        // Whose processes have not ended yet is removed later.
        let _ = fs::remove_dir(&self.0);
    }
}

/// Freezes all processes and waits until they are frozen. Thaws them again if that takes too long.
pub(crate) async fn freeze() -> Result<(), Fault> {
    let step = "freeze the application";
    if !exists() {
        return Ok(());
    }
    set_frozen("1").step(step)?;
    let deadline = Instant::now() + FREEZE_DEADLINE;
    while !is_frozen().step(step)? {
        if Instant::now() >= deadline {
            set_frozen("0").step(step)?;
            return Err(Fault::new(step, Errno::TIMEDOUT));
        }
        tokio::time::sleep(FREEZE_POLL).await;
    }
    Ok(())
}

/// Thaws all processes.
pub(crate) fn thaw() -> Result<(), Fault> {
    if !exists() {
        return Ok(());
    }
    set_frozen("0").step("thaw the application")
}

/// Kills all processes, frozen ones too.
pub(crate) fn kill() -> Result<(), Fault> {
    if !exists() {
        return Ok(());
    }
    fs::write(Path::new(GROUP).join("cgroup.kill"), "1").step("kill the application's processes")
}

/// Reads a number of a statistics file: the only one, or that of the line that starts with `key`.
pub(crate) fn statistic(file: &str, key: Option<&str>) -> Option<u64> {
    let text = fs::read_to_string(Path::new(GROUP).join(file)).ok()?;
    match key {
        None => text.trim().parse().ok(),
        Some(key) => value_of(&text, key)?.parse().ok(),
    }
}

fn exists() -> bool {
    Path::new(GROUP).exists()
}

fn set_frozen(value: &str) -> io::Result<()> {
    fs::write(Path::new(GROUP).join("cgroup.freeze"), value)
}

fn is_frozen() -> io::Result<bool> {
    let events = fs::read_to_string(Path::new(GROUP).join("cgroup.events"))?;
    Ok(value_of(&events, "frozen") == Some("1"))
}

/// The value of a "flat keyed" file (cgroup-v2.rst, "Interface Files").
fn value_of<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .find_map(|(name, value)| (name == key).then_some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_their_key() {
        let text = "populated 1\nfrozen 0\n";
        assert_eq!(value_of(text, "frozen"), Some("0"));
        assert_eq!(value_of(text, "froze"), None);
    }
}
