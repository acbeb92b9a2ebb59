//! The application's container: its cgroup, its root directory, its namespaces.
//!
//! ```text
//! /sys/fs/cgroup/app            frozen and measured as a whole; invisible to the application
//!                  /payload     the root of its cgroup namespace
//! /run/hearth/disks/N           read-only disks, writable disk
//! /run/hearth/root              overlay of them
//! /run/hearth/files/            hostname, hosts, ...: small files that the agent rewrites after a restore
//! ```

pub(crate) mod cgroup;
pub(crate) mod files;
pub(crate) mod place;
pub(crate) mod storage;
