//! The generation id: 16 bytes in guest memory that change whenever a guest is no longer the only one with
//! its past (Microsoft, "Virtual Machine Generation ID"). Linux reseeds its random number generator then.

use kvm_ioctls::VmFd;
use vm_memory::{Bytes, GuestAddress, GuestMemoryError};

use crate::arch::x86_64::layout;
use crate::virtio::GuestRam;

/// Why the generation id could not be written, or the guest not notified.
#[derive(Debug, thiserror::Error)]
pub enum GenerationError {
    /// The page of the id is not in guest memory.
    #[error("write the generation id")]
    Write(#[source] GuestMemoryError),
    /// The interrupt could not be raised.
    #[error("interrupt the guest for its generation id")]
    Interrupt(#[source] kvm_ioctls::Error),
}

/// Writes the id into guest memory.
pub fn write(ram: &GuestRam, id: u128) -> Result<(), GenerationError> {
    ram.write_slice(&id.to_le_bytes(), GuestAddress(layout::VMGENID))
        .map_err(GenerationError::Write)
}

/// Pulses the interrupt line of the generic event device. The guest then reads the id again.
pub fn notify(vm: &VmFd) -> Result<(), GenerationError> {
    vm.set_irq_line(layout::EVENT_GSI, true)
        .map_err(GenerationError::Interrupt)?;
    vm.set_irq_line(layout::EVENT_GSI, false)
        .map_err(GenerationError::Interrupt)
}
