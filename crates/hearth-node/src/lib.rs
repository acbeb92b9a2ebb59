//! The VMM processes and snapshots of one host.
//!
//! A [`Node`] starts a `hearth-vmm` process from a snapshot and turns the process back into a snapshot. Its state is in
//! its data directory, so that a later process with that directory finds the same microVMs. It reads its records once,
//! and keeps an index of them in memory (index.rs, records.rs). Operations on one instance run one after the other
//! (turns.rs) and outlive their callers:
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
mod causes;
mod cgroup;
mod codec;
pub mod crash_point;
mod damage;
mod directory;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
mod index;
mod jail;
mod layout;
mod memory;
mod memory_guard;
mod node;
mod pressure;
mod process;
mod record;
mod records;
mod services;
mod shares;
mod socket;
mod spawn;
mod times;
mod turns;
mod untrusted_text;
mod verified;
mod vmm;
mod vmm_end;
mod vmm_log;
mod write_lock;

pub use agent::{AgentClient, AgentError, Exec, ExecReader, ExecWriter, FileReader, LogFollower};
pub use block_device::{BlockDevice, NoBlockDevice};
pub use causes::with_causes;
pub use cgroup::{Groups, NoDiskLimit, limitable_device};
pub use damage::{Damage, damaged_in};
pub use error::NodeError;
pub use index::SnapshotInfo;
pub use jail::DEFAULT_USERS;
pub use layout::{Layout, MachineName, NameError};
pub use memory::ProcessMemory;
pub use node::chain::ChainLimits;
pub use node::fork::Sealed;
pub use node::launch::{BootRequest, CloneRequest, DiskRequest, Launched};
pub use node::machine::Machine;
pub use node::warm::{BlankDisks, GuestTemplate};
pub use node::{DeviceLimits, Node, NodeOptions, Standing, Swept};
pub use pressure::{MemoryPressure, available_percent};
pub use record::{
    DiskStack, MachineRecord, NetworkRecord, ProcessRecord, Purpose, SnapshotRecord, SnapshotShape,
};
pub use services::{ServiceListener, service_of};
pub use shares::Shares;
pub use times::{StepTime, Times};
pub use vmm::{Jail, Permitted, VmmClient, VmmError};
pub use vmm_end::VmmEnd;
