//! The node's part of a VMM's sandbox: a user that no other machine has, a directory that only this VMM writes, an
//! empty directory for its root mount, and a PID namespace. The VMM enters its sandbox by itself
//! (`hearth-vmm/src/sandbox`).
//!
//! A user is leased for as long as its machine runs. The machines' records hold the leases, so a restarted node knows
//! them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs;
use std::io;
use std::ops::RangeInclusive;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, lchown};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hearth_snapshot::{MEMORY_FILE, disk_file};
use rustix::process::{getegid, geteuid};

use crate::directory::names;
use crate::error::{NodeError, failed};
use crate::layout::MachineName;

/// User ids that neither distributions, systemd nor container engines assign (systemd's UIDS-GIDS.md: 0x70000000 and
/// more are free).
pub const DEFAULT_USERS: RangeInclusive<u32> = 0x7000_0000..=0x7000_ffff;

/// The files that a VMM writes into a snapshot, beside the disks.
const SNAPSHOT_FILES: [&str; 3] = [MEMORY_FILE, "state", "hashes"];

/// The leased users of running machines.
#[derive(Debug)]
pub(crate) struct Users {
    range: RangeInclusive<u32>,
    leases: Mutex<Leases>,
}

#[derive(Debug)]
struct Leases {
    /// The user id that is tried next. Ids are taken in turn, so that the user of an ended machine is not reused at
    /// once.
    next: u32,
    by_user: HashMap<u32, MachineName>,
}

impl Users {
    pub(crate) fn new(range: RangeInclusive<u32>) -> Self {
        Self {
            leases: Mutex::new(Leases {
                next: *range.start(),
                by_user: HashMap::new(),
            }),
            range,
        }
    }

    fn leases(&self) -> MutexGuard<'_, Leases> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leases a free user to a machine.
    pub(crate) fn take(&self, name: &MachineName) -> Result<u32, NodeError> {
        let mut leases = self.leases();
        for _ in self.range.clone() {
            let user = leases.next;
            leases.next = match user {
                last if last == *self.range.end() => *self.range.start(),
                other => other + 1,
            };
            if let Entry::Vacant(free) = leases.by_user.entry(user) {
                free.insert(name.clone());
                return Ok(user);
            }
        }
        Err(NodeError::NoUser)
    }

    /// Registers a lease that a machine's record holds.
    pub(crate) fn adopt(&self, name: &MachineName, user: u32) {
        self.leases().by_user.insert(user, name.clone());
    }

    /// Ends a lease. No-op if the machine does not have this user.
    pub(crate) fn give_back(&self, name: &MachineName, user: u32) {
        let mut leases = self.leases();
        if leases.by_user.get(&user) == Some(name) {
            leases.by_user.remove(&user);
        }
    }
}

/// Creates the directory that a VMM may write.
pub(crate) fn make_own(path: &Path, user: Option<u32>) -> Result<(), NodeError> {
    fs::create_dir(path).map_err(failed("make the directory", path))?;
    let private = fs::Permissions::from_mode(0o700);
    fs::set_permissions(path, private).map_err(failed("close", path))?;
    match user {
        Some(user) => chown(path, Some(user), Some(user)).map_err(failed("hand over", path)),
        None => Ok(()),
    }
}

/// Takes ownership of the files that a VMM has written into a directory, and makes them readable for other VMMs, which
/// see only the paths that they are given. Anything but regular files is refused, as links would lead elsewhere.
pub(crate) fn take_over(directory: &Path) -> Result<(), NodeError> {
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    // A link in its place would lead elsewhere. Where it lies now its maker cannot put another.
    let found = fs::symlink_metadata(directory).map_err(failed("look at", directory))?;
    if !found.is_dir() {
        let error = io::Error::from(io::ErrorKind::NotADirectory);
        return Err(failed("take over", directory)(error));
    }
    // From here on its maker cannot put anything else there.
    chown(directory, Some(user), Some(group)).map_err(failed("take over", directory))?;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755))
        .map_err(failed("open to readers", directory))?;
    for name in names(directory)? {
        let path = directory.join(&name);
        take_over_file(&path)?;
        if !is_sealed_file(&name) {
            // Else it would be read as something that the node wrote: its record, its list of pages.
            fs::remove_file(&path).map_err(failed("remove", &path))?;
        }
    }
    Ok(())
}

/// Whether a VMM writes a file of this name into a snapshot.
fn is_sealed_file(name: &str) -> bool {
    let is_disk = |number: &str| number.parse().is_ok_and(|index| disk_file(index) == name);
    let number = name
        .strip_prefix("disk-")
        .and_then(|rest| rest.strip_suffix(".qcow2"));
    SNAPSHOT_FILES.contains(&name) || number.is_some_and(is_disk)
}

/// Takes ownership of one file, of a VMM that has ended or cannot change its directory any more.
pub(crate) fn take_over_file(path: &Path) -> Result<(), NodeError> {
    let here = || failed("take over", path);
    let found = fs::symlink_metadata(path).map_err(here())?;
    if !found.is_file() {
        return Err(here()(io::Error::new(
            io::ErrorKind::InvalidData,
            "it is no plain file",
        )));
    }
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    if (found.uid(), found.gid()) == (user, group) {
        // Perhaps it is locked already, and then not even root changes it.
        return Ok(());
    }
    lchown(path, Some(user), Some(group)).map_err(here())
}

/// Makes a file, or a directory of files, readable for the users of all VMMs. The data directory itself is closed, so
/// only VMMs that have the path mounted can read it. Fails for an unreadable path outside the data directory: its
/// permissions are the operator's to set.
pub(crate) fn let_read(path: &Path, data: &Path) -> Result<(), NodeError> {
    let found = fs::metadata(path).map_err(failed("look at", path))?;
    let readable = if found.is_dir() { 0o555 } else { 0o444 };
    let mode = found.permissions().mode();
    if mode & readable == readable {
        return Ok(());
    }
    // A link may lead out of the directory that it is in.
    let resolve = |path: &Path| fs::canonicalize(path).map_err(failed("resolve", path));
    if !resolve(path)?.starts_with(resolve(data)?) {
        return Err(NodeError::Unreadable(path.to_owned()));
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode | readable))
        .map_err(failed("open to readers", path))
}

#[cfg(test)]
mod tests {
    use tokio::process::Command;

    use super::*;
    use crate::spawn::spawn_apart;

    fn name(text: &str) -> MachineName {
        text.parse().unwrap()
    }

    #[test]
    fn no_two_machines_have_the_same_user() {
        let users = Users::new(10..=12);
        users.adopt(&name("old"), 11);
        assert_eq!(users.take(&name("a")).unwrap(), 10);
        assert_eq!(users.take(&name("b")).unwrap(), 12);
        assert!(matches!(users.take(&name("c")), Err(NodeError::NoUser)));
        // Not his to give.
        users.give_back(&name("c"), 11);
        assert!(users.take(&name("c")).is_err());
        users.give_back(&name("old"), 11);
        assert_eq!(users.take(&name("c")).unwrap(), 11);
    }

    #[test]
    fn a_user_that_was_given_back_comes_last() {
        let users = Users::new(10..=12);
        let first = users.take(&name("a")).unwrap();
        users.give_back(&name("a"), first);
        assert_eq!(users.take(&name("b")).unwrap(), 11);
        // A late second farewell takes nothing from anybody.
        users.give_back(&name("a"), 11);
        assert_eq!(users.take(&name("c")).unwrap(), 12);
        assert_eq!(users.take(&name("d")).unwrap(), 10);
    }

    #[test]
    fn files_of_the_operator_are_opened_to_readers_by_nobody_else() {
        let (data, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let file = |directory: &Path| {
            let path = directory.join("vmlinux");
            fs::write(&path, "x").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            path
        };
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let (own, foreign) = (file(data.path()), file(elsewhere.path()));
        let link = data.path().join("link");
        std::os::unix::fs::symlink(&foreign, &link).unwrap();

        let_read(&own, data.path()).unwrap();
        assert_eq!(mode(&own), 0o644);
        for path in [&foreign, &link] {
            let told = let_read(path, data.path()).unwrap_err().to_string();
            let command = format!("chmod a+r {}", path.display());
            assert!(told.contains(&command), "{told}");
            assert_eq!(mode(&foreign), 0o600);
        }
        fs::set_permissions(&foreign, fs::Permissions::from_mode(0o644)).unwrap();
        let_read(&foreign, data.path()).unwrap();
    }

    #[tokio::test]
    async fn a_process_that_is_apart_is_the_first_and_sees_nobody() {
        // Only root makes process namespaces.
        if !geteuid().is_root() {
            return;
        }
        let number = async |apart: bool| {
            let mut command = Command::new("sh");
            command
                .args(["-c", "echo $$"])
                .stdout(std::process::Stdio::piped());
            let child = match apart {
                true => spawn_apart(&mut command),
                false => command.spawn(),
            };
            let output = child.unwrap().wait_with_output().await.unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        assert_eq!(number(true).await, "1\n");
        assert_ne!(number(false).await, "1\n");
    }

    /// A VMM that was taken over might leave a record that says whose its snapshot is, or gigabytes to be read as a reason.
    #[test]
    fn what_a_vmm_adds_to_a_snapshot_is_not_taken_over() {
        let directory = tempfile::tempdir().unwrap();
        let sealed = ["memory", "state", "hashes", "disk-0.qcow2", "disk-12.qcow2"];
        let added = [
            "node.json",
            "prefetch.json",
            "reason.json",
            "disk-01.qcow2",
            "disk-.qcow2",
        ];
        for name in sealed.iter().chain(&added) {
            fs::write(directory.path().join(name), "x").unwrap();
        }
        take_over(directory.path()).unwrap();
        let mut left = names(directory.path()).unwrap();
        left.sort();
        let mut expected = sealed;
        expected.sort_unstable();
        assert_eq!(left, expected);
    }

    #[test]
    fn a_link_among_what_a_vmm_wrote_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("memory"), "x").unwrap();
        take_over(directory.path()).unwrap();
        std::os::unix::fs::symlink("/etc/shadow", directory.path().join("state")).unwrap();
        let error = take_over(directory.path()).unwrap_err();
        assert!(format!("{error:?}").contains("no plain file"), "{error:?}");
    }
}
