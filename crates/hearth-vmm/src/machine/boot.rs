//! Builds a machine that boots, step by step.

use std::sync::Arc;
use std::time::Instant;

use hearth_snapshot::Ram;
use hearth_wire::vmm::{BootSpec, Started};
use kvm_ioctls::{Kvm, VcpuFd};

use super::devices;
use super::error::MachineError;
use super::parts::{Wiring, attach_memory, create_vcpus};
use super::running::{Machine, elapsed_us};
use crate::arch::x86_64::aml::Platform;
use crate::arch::x86_64::cpuid::HostCpu;
use crate::arch::x86_64::registers::{self, Entry};
use crate::arch::x86_64::{acpi, cpuid, layout, msr};
use crate::boot::{self, BootFiles};
use crate::bus::Bus;
use crate::kvm::{self, KvmError};
use crate::vcpu::Vcpus;
use crate::virtio::GuestRam;

/// Builds the machine of `spec` and starts its vCPUs. `since` is when the request was read; the times in the answer
/// count from there.
pub fn boot(
    spec: &BootSpec,
    wiring: Wiring<'_>,
    since: Instant,
) -> Result<(Machine, Started), MachineError> {
    check(spec)?;
    let ram_bytes = u64::from(spec.memory_mib) << 20;
    let ram = Ram::anonymous(ram_bytes).map_err(MachineError::Ram)?;
    let memory = ram.guest_memory().map_err(MachineError::Ram)?;
    let memory_us = elapsed_us(since);

    let kvm = kvm::open()?;
    let vm = kvm::create_vm(&kvm)?;
    attach_memory(&vm, &memory)?;
    let mut devices = devices::build(&spec.devices, None, &memory, &vm, wiring)?;
    let bus = Arc::new(Bus::new(devices.virtio.clone(), devices.serial.clone()));

    let entry = load(spec, &memory, ram_bytes, devices.virtio.len())?;
    let vcpus = create_vcpus(&vm, usize::from(spec.vcpus))?;
    set_up_vcpus(&kvm, &vcpus, &memory, entry)?;
    let vcpus = Vcpus::start(vcpus, &bus, wiring.ended)?;
    let machine_us = elapsed_us(since);

    devices.keep_overlays();
    let mut machine = Machine::new(kvm, vm, ram, devices, vcpus);
    machine.resume();
    Ok((
        machine,
        Started {
            memory_us,
            machine_us,
            running_us: elapsed_us(since),
        },
    ))
}

fn check(spec: &BootSpec) -> Result<(), MachineError> {
    if !(1..=layout::VCPUS_MAX).contains(&spec.vcpus) {
        return Err(MachineError::Vcpus(spec.vcpus));
    }
    if !layout::MEMORY_MIB.contains(&spec.memory_mib) {
        return Err(MachineError::Memory(spec.memory_mib));
    }
    Ok(())
}

/// Fills guest memory: kernel, initramfs, command line, ACPI tables.
fn load(
    spec: &BootSpec,
    memory: &GuestRam,
    ram_bytes: u64,
    virtio_devices: usize,
) -> Result<Entry, MachineError> {
    let has_serial = spec.devices.serial_log.is_some();
    let files = BootFiles {
        kernel: &spec.kernel,
        initramfs: spec.initramfs.as_deref(),
        command_line: &spec.command_line,
        has_serial,
    };
    let entry = boot::load(memory, ram_bytes, &files)?;
    acpi::write(
        memory,
        &Platform {
            vcpus: spec.vcpus,
            virtio_devices,
            has_serial,
        },
    )?;
    Ok(entry)
}

/// Sets CPUID and model-specific registers of all vCPUs. The registers of the first point to the kernel; the others
/// wait until the kernel starts them.
fn set_up_vcpus(
    kvm: &Kvm,
    vcpus: &[VcpuFd],
    memory: &GuestRam,
    entry: Entry,
) -> Result<(), MachineError> {
    let mut supported = supported_cpuid(kvm)?;
    HostCpu::detect().restrict(&mut supported);
    for (index, vcpu) in (0..).zip(vcpus) {
        // At most `VCPUS_MAX` of them.
        let entries = cpuid::for_vcpu(&supported, index, vcpus.len() as u8);
        let entries = cpuid::to_kvm(&entries).ok_or(KvmError::Missing("room for CPUID entries"))?;
        vcpu.set_cpuid2(&entries)
            .map_err(kvm::step("set CPUID entries"))?;
        msr::write(vcpu, &msr::at_boot())?;
        if index == 0 {
            registers::set_up(vcpu, memory, entry)?;
        }
    }
    Ok(())
}

/// The CPUID entries that KVM supports on this host.
pub(super) fn supported_cpuid(kvm: &Kvm) -> Result<Vec<kvm_bindings::kvm_cpuid_entry2>, KvmError> {
    let entries = kvm
        .get_supported_cpuid(kvm_bindings::KVM_MAX_CPUID_ENTRIES)
        .map_err(kvm::step("read the supported CPUID entries"))?;
    Ok(entries.as_slice().to_vec())
}
