//! The emulated host: Hearth's own machine on hosts where KVM cannot run guests.
//!
//! ```text
//!  this host                                    emulated host (L1)              microVMs (L2)
//!  hearth, xtask                                Debian kernel, kvm-amd
//!    EmulatedHost --starts--> QEMU (TCG, SVM) --> hearth-agent is PID 1
//!    HostAgentClient --one forwarded TCP port---> agent protocol, token     --> hearth-vmm --> guest
//!                   data disk (virtio-blk) <----> /data
//! ```
//!
//! The VMM that runs inside is the very same binary as on hardware; only the processor below is emulated.
//! `docs/emulated-host.md` tells how to use it and what its limits are.
//!
//! The crate starts a process, watches it and talks to one port. It knows nothing of KVM itself (the
//! probe that tells whether KVM runs guests is `hearth_vmm::probe`), of AWS or of async runtimes.

#![forbid(unsafe_code)]

mod clock;
mod console;
mod disk;
mod qemu;

mod agent;
mod health;
mod host;
mod keeper;
mod libraries;
mod record;
mod watchdog;

pub use agent::{HostAgentClient, HostAgentError};
pub use clock::tsc_khz;
pub use disk::{DiskError, InitialFile};
pub use health::{Death, Health, Watch};
pub use host::{
    DataDisk, EmulatedHost, HostConfig, HostStartError, default_memory_mib, find_static_busybox,
};
pub use libraries::with_libraries;
pub use qemu::{PortForward, QemuVersion};
pub use watchdog::{WatchdogEvent, keep_running};
