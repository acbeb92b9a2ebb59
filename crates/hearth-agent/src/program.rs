//! Executes a program: drops a forked child's rights, enters its working directory, and calls exec.

use std::collections::BTreeMap;
use std::ffi::CString;

use rustix::fs::{Gid, Uid};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit};
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::fault::{Fault, Step};
use crate::sys::process;
use crate::user::{self, ProcessUser};

/// Default of `PATH` if the environment has none; the same as Docker's.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Docker's default fourteen: chown, dac_override, fowner, fsetid, kill, setgid, setuid, setpcap,
/// net_bind_service, net_raw, sys_chroot, mknod, audit_write, setfcap.
const DEFAULT_CAPABILITIES: u64 = 0xa804_25fb;

/// Upper bound of capability numbers. The kernel has fewer and refuses the rest.
const CAPABILITY_NUMBERS: u32 = 64;

/// Major number of `/dev/null` and its siblings.
const MEMORY_DEVICES: u32 = 1;

/// The capability bounding set of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Capabilities {
    /// Docker's default capabilities.
    Default,
    /// All capabilities.
    All,
    /// None, and no way to any (`no_new_privs`): programs of a function.
    None,
}

impl Capabilities {
    /// The bounding set; `None` for all.
    fn bounding_set(self) -> Option<u64> {
        match self {
            Self::Default => Some(DEFAULT_CAPABILITIES),
            Self::All => None,
            Self::None => Some(0),
        }
    }
}

/// A program to execute.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    pub(crate) argv: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    /// Working directory; empty is `/`.
    pub(crate) cwd: String,
    /// Whether the working directory is created if it is missing.
    pub(crate) create_cwd: bool,
    pub(crate) user: String,
    pub(crate) capabilities: Capabilities,
    /// Limit of open files, soft and hard; `None` keeps the agent's.
    pub(crate) open_files: Option<u32>,
    /// Limit of the user's processes and threads; `None` keeps the agent's.
    pub(crate) processes: Option<u32>,
}

impl Program {
    /// Executes the program, in the namespaces and the root of this process. Returns only on failure.
    ///
    /// `no_new_privs` is not set with default capabilities, as in Docker: setuid programs of an image work.
    pub(crate) fn execute(&self) -> Fault {
        match self.prepare() {
            Ok(env) => self.replace_process(&env),
            Err(fault) => fault,
        }
    }

    /// Sets limits, working directory, user and capabilities of the program. Answers its environment.
    fn prepare(&self) -> Result<Vec<CString>, Fault> {
        let identity = user::resolve(&self.user)
            .map_err(|error| Fault::new(error.to_string(), Errno::NOENT))?;
        for (resource, limit) in [
            (Resource::Nofile, self.open_files),
            (Resource::Nproc, self.processes),
        ] {
            let Some(limit) = limit.map(u64::from) else {
                continue;
            };
            let limit = Rlimit {
                current: Some(limit),
                maximum: Some(limit),
            };
            rustix::process::setrlimit(resource, limit).step("limit files and processes")?;
        }
        self.enter_directory()?;
        give_stdio_to(&identity)?;
        self.drop_rights(&identity)?;
        Ok(self.environment(&identity))
    }

    /// Enters the working directory. Called before the rights are dropped, as in Docker: a directory that only root may
    /// enter can be the working directory of another user.
    fn enter_directory(&self) -> Result<(), Fault> {
        let cwd = if self.cwd.is_empty() { "/" } else { &self.cwd };
        if self.create_cwd {
            std::fs::create_dir_all(cwd).step("create the working directory")?;
        }
        rustix::process::chdir(cwd).step_with(|| format!("enter {cwd}"))
    }

    fn drop_rights(&self, identity: &ProcessUser) -> Result<(), Fault> {
        let bounding_set = self.capabilities.bounding_set();
        if let Some(kept) = bounding_set {
            drop_bounding_set(kept)?;
        }
        if self.capabilities == Capabilities::None {
            rustix::thread::set_no_new_privs(true).step("forbid new rights")?;
        }
        let groups: Vec<Gid> = identity.groups.iter().copied().map(Gid::from_raw).collect();
        rustix::thread::set_thread_groups(&groups).step("set the groups")?;
        let gid = Gid::from_raw(identity.gid);
        rustix::thread::set_thread_res_gid(gid, gid, gid).step("set the group")?;
        let uid = Uid::from_raw(identity.uid);
        // Leaving uid 0 takes the effective and permitted capabilities away (capabilities(7)).
        rustix::thread::set_thread_res_uid(uid, uid, uid).step("set the user")?;
        if let (0, Some(kept)) = (identity.uid, bounding_set) {
            let kept = CapabilitySet::from_bits_retain(kept);
            let sets = CapabilitySets {
                effective: kept,
                permitted: kept,
                inheritable: CapabilitySet::empty(),
            };
            rustix::thread::set_capabilities(None, sets).step("drop capabilities")?;
        }
        Ok(())
    }

    fn environment(&self, identity: &ProcessUser) -> Vec<CString> {
        let mut env = self.env.clone();
        env.entry("PATH".to_owned())
            .or_insert_with(|| DEFAULT_PATH.to_owned());
        env.entry("HOME".to_owned())
            .or_insert_with(|| identity.home.clone());
        env.iter()
            .filter_map(|(name, value)| CString::new(format!("{name}={value}")).ok())
            .collect()
    }

    fn replace_process(&self, env: &[CString]) -> Fault {
        let argv: Vec<CString> = self
            .argv
            .iter()
            .filter_map(|argument| CString::new(argument.as_str()).ok())
            .collect();
        let name = self.argv.first().map_or("", String::as_str);
        let path = self.env.get("PATH").map_or(DEFAULT_PATH, String::as_str);
        let mut reason = Errno::NOENT;
        for candidate in candidates(name, path) {
            let Ok(candidate) = CString::new(candidate) else {
                continue;
            };
            match process::exec(&candidate, &argv, env) {
                Errno::NOENT | Errno::NOTDIR => {}
                // Another directory may have one that may be run; if not, this is the better reason.
                Errno::ACCESS => reason = Errno::ACCESS,
                error => return Fault::new(format!("run {name}"), error),
            }
        }
        Fault::new(format!("run {name}"), reason)
    }
}

/// The possible paths of a program: `name` itself if it contains a slash, else in each directory of `path`.
fn candidates(name: &str, path: &str) -> Vec<String> {
    if name.contains('/') {
        return vec![name.to_owned()];
    }
    path.split(':')
        .map(|directory| match directory {
            "" => format!("./{name}"),
            directory => format!("{directory}/{name}"),
        })
        .collect()
}

/// Makes the program's user the owner of its stdio, so that programs which are not root can open `/dev/stdout`.
fn give_stdio_to(identity: &ProcessUser) -> Result<(), Fault> {
    if identity.uid == 0 {
        return Ok(());
    }
    let owner = Some(Uid::from_raw(identity.uid));
    let stdio = [
        rustix::stdio::stdin(),
        rustix::stdio::stdout(),
        rustix::stdio::stderr(),
    ];
    for fd in stdio {
        // `/dev/null` belongs to everybody.
        if rustix::fs::major(rustix::fs::fstat(fd).step("look at stdio")?.st_rdev) == MEMORY_DEVICES
        {
            continue;
        }
        rustix::fs::fchown(fd, owner, None).step("hand stdio over")?;
    }
    Ok(())
}

fn drop_bounding_set(kept: u64) -> Result<(), Fault> {
    for number in 0..CAPABILITY_NUMBERS {
        if kept >> number & 1 == 1 {
            continue;
        }
        let capability = CapabilitySet::from_bits_retain(1 << number);
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            // Above the last one that this kernel knows.
            Err(Errno::INVAL) => break,
            Err(error) => return Err(Fault::new("drop capabilities", error)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_looked_for_in_each_directory() {
        assert_eq!(candidates("sh", "/a::/b"), ["/a/sh", "./sh", "/b/sh"]);
    }

    #[test]
    fn a_path_is_taken_as_it_is() {
        assert_eq!(candidates("./sh", "/a"), ["./sh"]);
        assert_eq!(candidates("/bin/sh", "/a"), ["/bin/sh"]);
    }

    #[test]
    fn the_default_capabilities_are_fourteen() {
        assert_eq!(DEFAULT_CAPABILITIES.count_ones(), 14);
    }
}
