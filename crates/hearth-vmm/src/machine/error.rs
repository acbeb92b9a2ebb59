//! The error types for machines that could not be booted or restored.

use hearth_snapshot::{OpenError, RamError};

use super::device_error::DeviceError;
use crate::arch::x86_64::acpi::AcpiError;
use crate::arch::x86_64::layout;
use crate::arch::x86_64::msr::MsrError;
use crate::arch::x86_64::registers::RegistersError;
use crate::arch::x86_64::vcpu_state::VcpuStateError;
use crate::boot::BootError;
use crate::kvm::KvmError;
use crate::vcpu::VcpuError;
use crate::vmgenid::GenerationError;

/// Why a machine could not be booted or restored.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// Zero vCPUs or too many.
    #[error("{0} vCPUs were asked for, 1 to {max} are possible", max = layout::VCPUS_MAX)]
    Vcpus(u8),
    /// Too little or too much RAM.
    #[error(
        "{0} MiB of RAM were asked for, {from} to {to} are possible",
        from = layout::MEMORY_MIB.start(),
        to = layout::MEMORY_MIB.end()
    )]
    Memory(u32),
    /// Guest RAM could not be mapped.
    #[error("make guest memory")]
    Ram(#[source] RamError),
    /// KVM refused a step.
    #[error(transparent)]
    Kvm(#[from] KvmError),
    /// A device could not be made.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// Kernel, initramfs or boot parameters could not be loaded.
    #[error(transparent)]
    Boot(#[from] BootError),
    /// The ACPI tables could not be written.
    #[error(transparent)]
    Acpi(#[from] AcpiError),
    /// The initial registers could not be set.
    #[error(transparent)]
    Registers(#[from] RegistersError),
    /// The initial model-specific registers could not be set.
    #[error(transparent)]
    Msr(#[from] MsrError),
    /// The vCPU threads could not be started.
    #[error(transparent)]
    Vcpu(#[from] VcpuError),
    /// The snapshot could not be opened.
    #[error("open the snapshot")]
    Open(#[from] OpenError),
    /// The machine state in the snapshot cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The state of a vCPU could not be restored.
    #[error("restore vCPU {index}")]
    VcpuState {
        /// Number of the vCPU.
        index: usize,
        /// The cause.
        #[source]
        source: VcpuStateError,
    },
    /// The generation id could not be written.
    #[error(transparent)]
    Generation(#[from] GenerationError),
}

/// Why the machine state in a snapshot cannot be restored on this host.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The state was written by another version of Hearth.
    #[error(
        "the machine state has version {found_machine}.{found_devices}, this Hearth reads {machine}.{devices}"
    )]
    Version {
        /// Version of the machine's part in the snapshot.
        found_machine: u16,
        /// Version of the devices' part in the snapshot.
        found_devices: u16,
        /// Version that this Hearth reads.
        machine: u16,
        /// Version that this Hearth reads.
        devices: u16,
    },
    /// The state is too short to hold a version.
    #[error("the machine state is cut off")]
    Short,
    /// The state has the right checksum but does not decode.
    #[error("the machine state does not decode")]
    Decode(#[source] postcard::Error),
    /// The request asks for another set of devices.
    #[error("the snapshot has the devices [{saved}], the request has [{now}]")]
    Devices {
        /// Names in the snapshot.
        saved: String,
        /// Names in the request.
        now: String,
    },
    /// This host's CPUs lack features that the guest was given.
    #[error("this host lacks what the guest's CPUs have: {}", .0.join(", "))]
    Cpu(Vec<String>),
    /// The number of vCPUs is out of range.
    #[error("the snapshot has {0} vCPUs")]
    Vcpus(usize),
}
