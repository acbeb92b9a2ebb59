//! The sandbox of a VMM, which the process enters by itself before any guest instruction runs.
//!
//! An attacker who breaks out of the guest finds a process that can do what a VMM does and nothing else. [`enter`] is a
//! straight list of steps, each with its reason and its error. A step that fails ends the process, because a guest must
//! not run with a layer missing. The exceptions are layers that a host may not offer (namespaces, root and user if the
//! node is not root, Landlock): each one that is left out is logged once.
//!
//! ```text
//! namespaces -> descriptors -> open files needed later -> own root -> resource limits -> own user
//!            -> no new privileges -> files (Landlock) -> capabilities -> not dumpable -> system calls (seccomp);
//!            then each vCPU and disk thread: a shorter list of system calls
//! ```

#[cfg(test)]
mod compile;
mod error;
mod filters;
mod landlock;
#[cfg(test)]
mod lists;
mod open_early;
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

/// The files, namespaces, root and user that the process gets.
#[derive(Debug, Clone, Default)]
pub struct SandboxOptions {
    /// Files and directories that the process may read.
    pub readable: Vec<PathBuf>,
    /// Directories in which the process may create, change and remove files.
    pub writable: Vec<PathBuf>,
    /// Descriptors of the namespaces to enter (network, IPC, UTS), made ahead of time by the node. They are closed
    /// afterwards with all others. `None`: the process creates empty namespaces.
    pub prepared: Option<[RawFd; slot::NAMESPACES]>,
    /// An empty directory at which the process mounts a root of its own, with nothing in it but the paths above.
    pub root: Option<PathBuf>,
    /// Numeric id of the user and of the group to which the process switches.
    pub user: Option<u32>,
    /// Inherited descriptors to keep, beside the standard ones.
    pub keep: Vec<RawFd>,
    /// Layers to leave out. Only tests use this.
    pub without: Vec<Layer>,
}

/// A layer of the sandbox. Tests leave out one at a time to show what it protects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// Network, IPC and UTS namespaces of its own.
    Namespaces,
    /// Closing of inherited descriptors.
    Descriptors,
    /// A root directory of its own.
    Root,
    /// Resource limits.
    Limits,
    /// A user of its own.
    User,
    /// Dropped capabilities, and no way to get new ones.
    Privileges,
    /// Landlock.
    Files,
    /// seccomp.
    SystemCalls,
}

/// Confines the calling thread and all threads that it starts. Must be called while it is the only thread.
///
/// # Errors
///
/// The layer that could not be applied. The caller must then end the process.
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
        open_early::open()?;
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
