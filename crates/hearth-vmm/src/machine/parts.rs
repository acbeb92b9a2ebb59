//! Steps that boot and restore share.

use std::sync::Arc;

use kvm_bindings::kvm_userspace_memory_region;
use kvm_ioctls::{VcpuFd, VmFd};
use vm_memory::{Address, GuestMemoryBackend, GuestMemoryRegion};
use vmm_sys_util::eventfd::EventFd;

use crate::kvm::{self, KvmError};
use crate::virtio::{FaultSink, GuestRam, Poller};

/// The parts of the process that a machine is connected to.
#[derive(Debug, Clone, Copy)]
pub struct Wiring<'a> {
    /// The event loop's poller.
    pub poller: &'a Poller,
    /// Where devices record the faults of their drivers.
    pub faults: &'a FaultSink,
    /// Eventfd that is written when a vCPU stops by itself.
    pub ended: &'a Arc<EventFd>,
}

/// Registers guest RAM with the virtual machine, one memory slot for each region.
pub(super) fn attach_memory(vm: &VmFd, memory: &GuestRam) -> Result<(), KvmError> {
    for (slot, region) in (0..).zip(memory.iter()) {
        let region = kvm_userspace_memory_region {
            slot,
            flags: 0,
            guest_phys_addr: region.start_addr().raw_value(),
            memory_size: region.len(),
            userspace_addr: region.as_ptr() as u64,
        };
        // SAFETY: the region is part of `Ram`'s mapping, which stays until the process ends, and no other
        // slot overlaps it.
        unsafe { vm.set_user_memory_region(region) }.map_err(kvm::step("attach guest memory"))?;
    }
    Ok(())
}

/// Creates `count` vCPUs.
pub(super) fn create_vcpus(vm: &VmFd, count: usize) -> Result<Vec<VcpuFd>, KvmError> {
    let create = |index| {
        vm.create_vcpu(index as u64)
            .map_err(kvm::step("create a vCPU"))
    };
    (0..count).map(create).collect()
}
