//! One virtual machine: how it is built, paused, saved and ended.
//!
//! ```text
//!   boot.rs     files ----.
//!                          >--> Machine (running.rs) --> snapshot.rs --> sealed directory
//!   restore.rs  snapshot --'      |
//!                                 '-- its devices (devices.rs), disks (disks.rs) and vCPUs (parts.rs)
//! ```
//!
//! state.rs is what a snapshot keeps of a machine beside memory and disks.

mod boot;
mod device_error;
mod devices;
mod disks;
mod error;
mod host;
mod parts;
mod rate_limit;
mod restore;
mod running;
mod snapshot;
mod state;

pub(crate) use host::remember as remember_host_boot;

pub use boot::boot;
pub use device_error::DeviceError;
pub use devices::Devices;
pub use error::{MachineError, StateError};
pub use parts::Wiring;
pub use restore::pretend_asleep;
pub use restore::restore;
pub use running::Machine;
pub use snapshot::{GoesOn, Sealing, SnapshotError};
pub use state::{MACHINE_STATE_VERSION, MachineState, SavedDevice};
