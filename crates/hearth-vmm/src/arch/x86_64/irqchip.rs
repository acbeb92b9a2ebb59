//! The interrupt controllers that KVM keeps for the whole machine: two PICs and the IOAPIC.
//!
//! There is no PIT. A guest of hardware-reduced ACPI has no driver for it, and KVM's would cost each
//! machine a kernel thread.

use kvm_bindings::{
    KVM_IRQCHIP_IOAPIC, KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE, kvm_irqchip,
};
use kvm_ioctls::VmFd;
use serde::{Deserialize, Serialize};

const CHIPS: [u32; 3] = [
    KVM_IRQCHIP_PIC_MASTER,
    KVM_IRQCHIP_PIC_SLAVE,
    KVM_IRQCHIP_IOAPIC,
];

// Stored as bytes: another size is another format.
const _: () = assert!(size_of::<kvm_irqchip>() == 520);

/// Saved state of the three chips, in the order of their numbers.
#[derive(Debug, Serialize, Deserialize)]
pub struct IrqchipState {
    chips: [kvm_irqchip; CHIPS.len()],
}

impl IrqchipState {
    /// Reads the state of the three chips from KVM.
    pub fn save(vm: &VmFd) -> Result<Self, kvm_ioctls::Error> {
        let mut chips = CHIPS.map(|chip_id| kvm_irqchip {
            chip_id,
            ..Default::default()
        });
        for chip in &mut chips {
            vm.get_irqchip(chip)?;
        }
        Ok(Self { chips })
    }

    /// Writes the state of the three chips to KVM.
    pub fn restore(&self, vm: &VmFd) -> Result<(), kvm_ioctls::Error> {
        self.chips.iter().try_for_each(|chip| vm.set_irqchip(chip))
    }
}
