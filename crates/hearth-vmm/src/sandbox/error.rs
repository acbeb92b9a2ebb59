//! The error type of the sandbox: which layer could not be applied, and what helps.

use std::io;
use std::path::PathBuf;

/// A sandbox layer that could not be applied. The VMM then runs no guest.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The process could not get namespaces of its own.
    #[error(
        "sandbox, namespaces: cannot leave the host's network, IPC and UTS namespaces; \
         raise user.max_net_namespaces, or give the node CAP_SYS_ADMIN"
    )]
    Namespaces(#[source] io::Error),
    /// The process could not enter the namespaces that the node made.
    #[error("sandbox, namespaces: cannot enter the namespaces that the node prepared; is it root?")]
    Enter(#[source] io::Error),
    /// The node did not send a valid slot.
    #[error(
        "sandbox, slot: cannot receive the namespaces from the node; are both of the same release?"
    )]
    Slot(#[source] io::Error),
    /// The process could not get a root directory of its own.
    #[error("sandbox, root: cannot {0} {1}; it needs root and Linux 5.12")]
    Root(&'static str, PathBuf, #[source] io::Error),
    /// `/proc/self/pagemap`, which a suspend reads, could not be opened.
    #[error("sandbox, root: cannot open /proc/self/pagemap; mount /proc")]
    Pagemap(#[source] io::Error),
    /// The process could not switch to its own user.
    #[error("sandbox, user: cannot become {0}; start the node as root")]
    User(u32, #[source] io::Error),
    /// Inherited descriptors could not be closed.
    #[error("sandbox, descriptors: close_range failed; it needs Linux 5.9")]
    Descriptors(#[source] io::Error),
    /// A resource limit could not be set.
    #[error("sandbox, limits: cannot set {0}; raise the node's own hard limit")]
    Limit(&'static str, #[source] io::Error),
    /// `PR_SET_NO_NEW_PRIVS` failed.
    #[error("sandbox, privileges: cannot set no_new_privs; it needs Linux 3.5")]
    NoNewPrivileges(#[source] io::Error),
    /// Capabilities could not be dropped.
    #[error(
        "sandbox, privileges: cannot drop the {0} capabilities; start the node as root or without capabilities"
    )]
    Capabilities(&'static str, #[source] io::Error),
    /// `PR_SET_DUMPABLE` failed.
    #[error("sandbox, privileges: cannot forbid dumps of this process")]
    Dumpable(#[source] io::Error),
    /// The Landlock rule set could not be made or applied.
    #[error("sandbox, files: Landlock refused to {0}; see the kernel's log")]
    Landlock(&'static str, #[source] io::Error),
    /// A path for a Landlock rule could not be opened.
    #[error("sandbox, files: cannot open {path}, which this microVM was to be allowed")]
    Path {
        /// The path.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The kernel refused a seccomp filter.
    #[error("sandbox, system calls: the kernel refused the filter; it needs CONFIG_SECCOMP_FILTER")]
    Apply(#[source] io::Error),
}
