//! The walls around a VMM, which it puts up itself before any guest instruction runs.
//!
//! Whoever breaks out of the guest finds a process that can do what a VMM does and nothing else. [`enter`] is a
//! straight list of steps, each with its reason and its error; a step that cannot be done ends the process, because
//! a guest must not run with a wall missing. The exceptions are layers that a host may not offer (namespaces, root and user
//! where the node is not root, Landlock); what is left out is said once in the log.
//!
//! ```text
//! namespaces -> descriptors -> what is needed later is opened -> a root of its own -> limits -> a user of its own
//!            -> no new privileges -> files (Landlock) -> capabilities -> not dumpable -> system calls (seccomp);
//!            then each vCPU and disk thread: a shorter list
//! ```

mod ahead;
#[cfg(test)]
mod compile;
mod error;
mod filters;
mod landlock;
#[cfg(test)]
mod lists;
mod privileges;
mod program;
#[cfg(test)]
mod requests;
mod root;
mod slot;

use crate::say;
use std::os::fd::RawFd;
use std::path::PathBuf;

pub use error::SandboxError;
pub use filters::{ThreadKind, confine_thread};
pub use slot::receive_slot;

/// What the process is allowed.
#[derive(Debug, Clone, Default)]
pub struct SandboxOptions {
    /// Files and directories to read.
    pub readable: Vec<PathBuf>,
    /// Directories in which to make, change and remove files.
    pub writable: Vec<PathBuf>,
    /// Descriptors of the namespaces to live in (network, IPC, UTS), made ahead of time by the node; they are closed with all
    /// others. Without them, the process makes empty ones.
    pub prepared: Option<[RawFd; slot::NAMESPACES]>,
    /// An empty directory at which the process makes a root of its own, with nothing in it but the paths above.
    pub root: Option<PathBuf>,
    /// Number of the user and the group that the process becomes.
    pub user: Option<u32>,
    /// Inherited descriptors that are wanted, beside the standard ones.
    pub keep: Vec<RawFd>,
    /// Layers that are left out. Only tests have a reason to.
    pub without: Vec<Layer>,
}

/// A layer, for the tests that show what each is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// Network, IPC and UTS namespaces of its own.
    Namespaces,
    /// Closed descriptors.
    Descriptors,
    /// A root directory of its own.
    Root,
    /// Resource limits.
    Limits,
    /// A user of its own.
    User,
    /// No capabilities, and no way to get any.
    Privileges,
    /// Landlock.
    Files,
    /// seccomp.
    SystemCalls,
}

/// Puts up the walls around the calling thread, and all that it starts. Called while it is the only one.
pub fn enter(options: &SandboxOptions) -> Result<(), SandboxError> {
    let wants = |layer| !options.without.contains(&layer);
    // First, as the steps down to the user need privileges.
    if wants(Layer::Namespaces) && !privileges::leave_namespaces(options.prepared)? {
        say(format_args!(
            "not started as root: network, IPC and UTS namespaces are the caller's"
        ));
    }
    if wants(Layer::Descriptors) {
        privileges::close_descriptors(&options.keep)?;
    }
    if let Some(root) = options.root.as_ref().filter(|_| wants(Layer::Root)) {
        ahead::open()?;
        root::enter(root, &options.readable, &options.writable)?;
    }
    // No wall: what has no directory in its path, as sockets whose paths would be too long, is in the first one that it may write.
    if let Some(own) = options.writable.first() {
        std::env::set_current_dir(own).map_err(|source| SandboxError::Path {
            path: own.clone(),
            source,
        })?;
    }
    if wants(Layer::Limits) {
        privileges::limit_resources()?;
    }
    if let Some(user) = options.user.filter(|_| wants(Layer::User)) {
        privileges::become_user(user)?;
    }
    if wants(Layer::Privileges) {
        privileges::no_new_privileges()?;
    }
    if wants(Layer::Files) && !landlock::restrict(&options.readable, &options.writable)? {
        say(format_args!(
            "this kernel has no Landlock (ABI 2, Linux 5.19): file access is limited by permissions only"
        ));
    }
    if wants(Layer::Privileges) {
        privileges::drop_capabilities()?;
        privileges::become_opaque()?;
    }
    // Last: the steps above are not on the list.
    if wants(Layer::SystemCalls) {
        filters::confine_process()?;
    }
    Ok(())
}
