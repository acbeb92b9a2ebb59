//! The virtual machine monitor: boot, devices, snapshot, restore.
//!
//! One process, one microVM. [`run`] is the process: it serves `hearth_wire::vmm` on a control socket, and owns
//! the [`machine::Machine`] with its vCPU threads and devices. The crate knows KVM; it knows no async runtime, no
//! HTTP and nothing of AWS.

pub mod control;
pub mod crash_point;
pub mod process;
pub mod sandbox;

pub mod machine;

pub mod arch;
pub mod boot;
pub mod bus;
pub mod i8042;
pub mod kvm;
pub mod prefetch;
pub mod probe;
pub mod serial;
pub mod snapshot;
pub mod vcpu;
pub mod virtio;
pub mod vmgenid;

mod errors;
mod say;
mod sealing;

pub use errors::error_chain;
pub use process::{VmmOptions, run};
pub use say::say;
