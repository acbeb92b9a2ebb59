//! Why there is no machine.

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
    /// RAM could not be made.
    #[error("make guest memory")]
    Ram(#[source] RamError),
    /// KVM could not do a step.
    #[error(transparent)]
    Kvm(#[from] KvmError),
    /// A device could not be made.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// Kernel, initramfs or boot parameters.
    #[error(transparent)]
    Boot(#[from] BootError),
    /// ACPI tables.
    #[error(transparent)]
    Acpi(#[from] AcpiError),
    /// First registers.
    #[error(transparent)]
    Registers(#[from] RegistersError),
    /// First model-specific registers.
    #[error(transparent)]
    Msr(#[from] MsrError),
    /// vCPU threads.
    #[error(transparent)]
    Vcpu(#[from] VcpuError),
    /// The snapshot is refused.
    #[error("open the snapshot")]
    Open(#[from] OpenError),
    /// The state in the snapshot is refused.
    #[error(transparent)]
    State(#[from] StateError),
    /// A vCPU does not take its state.
    #[error("restore vCPU {index}")]
    VcpuState {
        /// Number of the vCPU.
        index: usize,
        /// The cause.
        #[source]
        source: VcpuStateError,
    },
    /// The generation id.
    #[error(transparent)]
    Generation(#[from] GenerationError),
}

/// Why the state in a snapshot does not fit here.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Written by another version of Hearth.
    #[error(
        "the machine state has version {found_machine}.{found_devices}, this Hearth reads {machine}.{devices}"
    )]
    Version {
        /// Version of the machine's part in the snapshot.
        found_machine: u16,
        /// Version of the devices' part in the snapshot.
        found_devices: u16,
        /// What is read here.
        machine: u16,
        /// What is read here.
        devices: u16,
    },
    /// Not even a version.
    #[error("the machine state is cut off")]
    Short,
    /// The checksum was right, but it does not decode.
    #[error("the machine state does not decode")]
    Decode(#[source] postcard::Error),
    /// Another set of devices.
    #[error("the snapshot has the devices [{saved}], the request has [{now}]")]
    Devices {
        /// Names in the snapshot.
        saved: String,
        /// Names in the request.
        now: String,
    },
    /// The CPUs lack something that the guest uses.
    #[error("this host lacks what the guest's CPUs have: {}", .0.join(", "))]
    Cpu(Vec<String>),
    /// The number of vCPUs makes no sense.
    #[error("the snapshot has {0} vCPUs")]
    Vcpus(usize),
}
