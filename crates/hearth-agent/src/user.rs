//! Users as Dockerfiles name them: `uid`, `uid:gid`, `name`, `name:group`.
//!
//! They are looked up in the user and group files of the application's root directory. The application may write
//! anything into these files, so they are read up to a limit, and invalid lines are skipped.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags};

use crate::root;

/// Most bytes that are read of a user or group file: far above any real one.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Most groups of a process (the kernel allows 65536; no real user has more than a few).
const MAX_GROUPS: usize = 256;

/// The user, groups and home directory of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProcessUser {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Supplementary groups.
    pub(crate) groups: Vec<u32>,
    /// Home directory.
    pub(crate) home: String,
}

/// Why a user could not be resolved.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum UserError {
    /// The user file has no user of this name.
    #[error("there is no user {0}")]
    NoUser(String),
    /// The group file has no group of this name.
    #[error("there is no group {0}")]
    NoGroup(String),
}

/// A line of `/etc/passwd`.
struct PasswdEntry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

/// A line of `/etc/group`.
struct GroupEntry<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

/// Resolves `wanted` with the files of this process's root.
pub(crate) fn resolve(wanted: &str) -> Result<ProcessUser, UserError> {
    resolve_at(root::open("/").ok().as_ref(), wanted)
}

/// Resolves `wanted` with the files of `root`. Without a root, only numeric users are accepted.
pub(crate) fn resolve_at(root: Option<&OwnedFd>, wanted: &str) -> Result<ProcessUser, UserError> {
    let read = |path| {
        root.and_then(|root| read_bounded(root, path).ok())
            .unwrap_or_default()
    };
    resolve_in(wanted, &read("/etc/passwd"), &read("/etc/group"))
}

/// Resolves `wanted` with the contents of the user file and the group file. An empty text is root.
fn resolve_in(wanted: &str, users: &str, groups: &str) -> Result<ProcessUser, UserError> {
    let (user, group) = match wanted.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (wanted, None),
    };
    let user = if user.is_empty() { "0" } else { user };
    // A name wins over a number, as in Docker.
    let number = user.parse().ok();
    let line = parse_users(users)
        .find(|line| line.name == user)
        .or_else(|| parse_users(users).find(|line| Some(line.uid) == number));
    let (uid, own_gid, home) = match (&line, number) {
        (Some(line), _) => (line.uid, line.gid, line.home),
        // A number without a line has the root group, as in Docker.
        (None, Some(uid)) => (uid, 0, "/"),
        (None, None) => return Err(UserError::NoUser(user.to_owned())),
    };
    let gid = match group {
        Some(group) => resolve_group(group, groups)?,
        None => own_gid,
    };
    let supplementary = match &line {
        Some(line) if group.is_none() => groups_of(line.name, groups),
        _ => Vec::new(),
    };
    Ok(ProcessUser {
        uid,
        gid,
        groups: supplementary,
        home: if home.starts_with('/') { home } else { "/" }.to_owned(),
    })
}

fn resolve_group(group: &str, groups: &str) -> Result<u32, UserError> {
    parse_groups(groups)
        .find(|line| line.name == group)
        .map(|line| line.gid)
        .or_else(|| group.parse().ok())
        .ok_or_else(|| UserError::NoGroup(group.to_owned()))
}

fn groups_of(user: &str, groups: &str) -> Vec<u32> {
    parse_groups(groups)
        .filter(|group| group.members.split(',').any(|member| member == user))
        .map(|group| group.gid)
        .take(MAX_GROUPS)
        .collect()
}

fn parse_users(text: &str) -> impl Iterator<Item = PasswdEntry<'_>> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        let home = fields.nth(1).unwrap_or("/");
        Some(PasswdEntry {
            name,
            uid,
            gid,
            home,
        })
    })
}

fn parse_groups(text: &str) -> impl Iterator<Item = GroupEntry<'_>> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let gid = fields.nth(1)?.parse().ok()?;
        let members = fields.next().unwrap_or("");
        Some(GroupEntry { name, gid, members })
    })
}

/// Reads a file below `root`. Symbolic links in the path stay in `root`.
fn read_bounded(root: impl AsFd, path: &str) -> io::Result<String> {
    let mut bytes = Vec::new();
    // A named pipe in place of the file would block for ever.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let file = File::from(rustix::fs::openat2(
        root,
        path,
        flags,
        Mode::empty(),
        resolve,
    )?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    file.take(MAX_FILE_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const USERS: &str = "root:x:0:0:root:/root:/bin/sh\n\
        garbage\n\
        web:x:33:33:www:/var/www:/usr/sbin/nologin\n\
        1000:x:7:8::/seven:\n";
    const GROUPS: &str = "root:x:0:\nweb:x:33:\nlog:x:4:web,other\nssl:x:5:web\n";

    fn ids(wanted: &str) -> (u32, u32, Vec<u32>) {
        let identity = resolve_in(wanted, USERS, GROUPS).unwrap();
        (identity.uid, identity.gid, identity.groups)
    }

    #[test]
    fn empty_is_root() {
        assert_eq!(ids(""), (0, 0, vec![]));
        assert_eq!(resolve_in("", USERS, GROUPS).unwrap().home, "/root");
    }

    #[test]
    fn a_name_has_its_groups() {
        assert_eq!(ids("web"), (33, 33, vec![4, 5]));
        assert_eq!(ids("33"), (33, 33, vec![4, 5]));
    }

    #[test]
    fn a_group_replaces_all_groups() {
        assert_eq!(ids("web:log"), (33, 4, vec![]));
        assert_eq!(ids("web:9"), (33, 9, vec![]));
    }

    #[test]
    fn an_unknown_number_is_taken_as_it_is() {
        assert_eq!(ids("4242"), (4242, 0, vec![]));
        assert_eq!(ids("4242:17"), (4242, 17, vec![]));
    }

    #[test]
    fn a_name_of_digits_wins_over_the_number() {
        assert_eq!(ids("1000"), (7, 8, vec![]));
    }

    #[test]
    fn unknown_names_are_told() {
        assert_eq!(
            resolve_in("nobody", USERS, GROUPS),
            Err(UserError::NoUser("nobody".to_owned()))
        );
        assert_eq!(
            resolve_in("web:nogroup", USERS, GROUPS),
            Err(UserError::NoGroup("nogroup".to_owned()))
        );
    }

    proptest! {
        #[test]
        fn any_files_answer(wanted in ".{0,20}", users in ".{0,200}", groups in ".{0,200}") {
            let _ = resolve_in(&wanted, &users, &groups);
        }
    }
}
