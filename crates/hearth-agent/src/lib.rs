//! Hearth's agent: PID 1 of a guest, and of the emulated host.
//!
//! ```text
//! init:  boot (mounts, modules, network) -> listener -> server, one task per stream
//!
//!                         server
//!       +---------+---------+---------+---------+
//!    control     exec     proxy      file      logs      streams of the agent protocol
//!       |          \        |          |
//!  application     launch   TCP     worker
//!  (container)    (child)           (child)
//! ```
//!
//! One thread serves everything on tokio's current-thread runtime: readiness comes from epoll, an idle stream costs a
//! small task and two registrations, and clones dirty no thread stacks. Having one thread also makes plain `fork` safe
//! and lets the agent enter and leave namespaces ([`sys`]). Operations that may block on something that the application
//! controls run in a forked child.
//!
//! The agent also forwards the application's connections to services of the host (`services`).
//!
//! The application can attack the guest's kernel, but cannot reach the agent: the agent lives in another PID and
//! mount namespace, with its files in an initramfs that the application cannot see.

#![deny(unsafe_code)]

mod init;

mod boot;
mod settings;

mod agent;
mod listener;
mod server;

mod clock;
mod control;
mod exec;
mod file;
mod function;
mod logs;
mod proxy;

mod application;
mod container;
mod disks;
mod kernel_modules;
mod metrics;
mod netlink;
mod power;
mod services;
mod sockets;
mod unique;

mod launch;
mod program;
mod user;

mod bounds;
mod channel;
mod fault;
mod reaper;
mod root;
mod sys;

pub use init::run;
