//! VMM processes of one host: spawn, drive, snapshot store.
//!
//! A [`Node`] turns "run this snapshot" into a `hearth-vmm` process and back. Everything it knows is in its
//! data directory, so that a later process with that directory finds the same microVMs again; it reads its records once, and keeps an
//! index of them in memory (index.rs, records.rs). Operations on one instance follow each other (turns.rs) and outlive whoever
//! asked for them:
//!
//! ```text
//! <data>/
//!   machines/<name>/        one running microVM (record.rs)
//!     machine.json          what it is and which process runs it
//!     vmm.log               what its VMM said
//!     origin.json           of a fork that was not launched yet: the snapshot that waits for it (fork.rs)
//!     incoming/             a snapshot on its way to the others
//!     vmm/                  the one directory that its VMM writes, whose user it belongs to (jail.rs)
//!       control.sock        it listens here (hearth_wire::vmm)
//!       vsock.sock          its agent is reached here (agent.rs)
//!       vsock.sock_1025     its guest's streams to services of the host come in here (services.rs)
//!       disk-<n>.<g>.qcow2  its writable disk n, after g snapshots
//!       serial.log          what its kernel said, bounded
//!       snapshot/           what it is sealing
//!   snapshots/<id>/         one sealed snapshot (hearth-snapshot), and
//!     node.json             what a restore needs beside it: disks and how they stack
//!     prefetch.json         pages that its clones bring in in the background, if that is known
//!   damaged/                what could not be read, with the reason (damage.rs)
//!   empty/                  where VMMs make their roots
//! ```

#![forbid(unsafe_code)]

mod agent;
mod block_device;
mod cgroup;
mod chain;
mod codec;
pub mod crash_point;
mod damage;
mod error;
mod fork;
mod holdings;
mod index;
mod instance;
mod jail;
mod launch;
mod layout;
mod machine;
mod memory;
mod node;
mod process;
mod record;
mod records;
mod services;
mod shares;
mod socket;
mod times;
mod turns;
mod verified;
mod vmm;
mod warm;

pub use agent::{AgentClient, AgentError, Exec, ExecReader, ExecWriter, FileReader, LogFollower};
pub use block_device::{BlockDevice, NoBlockDevice};
pub use cgroup::{Groups, NoDiskLimit, limitable_device};
pub use chain::ChainLimits;
pub use damage::{Damage, damaged_in};
pub use error::NodeError;
pub use fork::Sealed;
pub use index::SnapshotInfo;
pub use jail::DEFAULT_USERS;
pub use launch::{BootRequest, CloneRequest, DiskRequest, Launched};
pub use layout::{Layout, MachineName, NameError};
pub use machine::Machine;
pub use memory::ProcessMemory;
pub use node::{DeviceLimits, Node, NodeOptions, Standing, Swept};
pub use record::{
    DiskStack, MachineRecord, NetworkRecord, ProcessRecord, Purpose, SnapshotRecord, SnapshotShape,
};
pub use services::{ServiceListener, service_of};
pub use shares::Shares;
pub use times::{StepTime, Times};
pub use vmm::{Jail, Permitted, VmmClient, VmmError};
pub use warm::BlankDisks;
