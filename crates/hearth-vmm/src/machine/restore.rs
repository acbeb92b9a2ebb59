//! Builds a machine from a snapshot, step by step. The cost of no step here may grow with the size of RAM.
//!
//! The guest's clocks either continue where they stood or have moved on with the wall clock ([`GuestClock`]). The saved
//! clocks are adjusted before any state is written (`arch/x86_64/clock.rs`). The agent sets the guest's realtime clock
//! in either case.
//!
//! The state is written in this order: vCPUs, then interrupt controllers, then the clock. An interrupt that the IOAPIC
//! delivers when it is written must find the local APICs as they were, and KVM recomputes the clock of all vCPUs when
//! it is set.

use std::sync::Arc;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use hearth_snapshot::{OpenError, OpenOptions, OpenSnapshot, Ram, SnapshotId};
use hearth_wire::crash_point::CrashPoint;
use hearth_wire::vmm::{DeviceSpec, GuestClock, RestoreSpec, Started};
use kvm_ioctls::{Kvm, VcpuFd, VmFd};

use super::boot::supported_cpuid;
use super::device_error::DeviceError;
use super::devices::{self, Devices, SavedDevices};
use super::error::{MachineError, StateError};
use super::host;
use super::parts::{Wiring, attach_memory, create_vcpus};
use super::running::{Machine, elapsed_us};
use super::state::MachineState;
use crate::arch::x86_64::clock;
use crate::arch::x86_64::cpuid::{self, HostCpu};
use crate::arch::x86_64::vcpu_state::TscScaling;
use crate::bus::Bus;
use crate::crash_point;
use crate::kvm;
use crate::prefetch;
use crate::say;
use crate::vcpu::{self, Vcpus};
use crate::vmgenid;

/// Builds the machine of `spec` from its snapshot, and starts it if that is asked for. `since` is when the request was
/// read.
pub fn restore(
    spec: &RestoreSpec,
    wiring: Wiring<'_>,
    since: Instant,
) -> Result<(Machine, Started), MachineError> {
    let snapshot = open(spec)?;
    let mut state = MachineState::decode(snapshot.machine())?;
    check_devices(&state, &spec.devices)?;
    let ram = Ram::restored(&snapshot).map_err(MachineError::Ram)?;
    let memory = ram.guest_memory().map_err(MachineError::Ram)?;
    let memory_us = elapsed_us(since);
    crash_point::reach(CrashPoint::RestoreMapped);

    let kvm = kvm::open()?;
    check_cpu(&kvm, &state)?;
    let vm = kvm::create_vm(&kvm)?;
    attach_memory(&vm, &memory)?;
    let saved = SavedDevices {
        virtio: &state.devices,
        serial: state.serial.as_ref(),
    };
    let mut devices = devices::build(&spec.devices, Some(saved), &memory, &vm, wiring)?;
    restore_devices(&devices, &state)?;
    let vcpus = create_vcpus(&vm, state.vcpus.len())?;
    // Late: what is still to come costs the guest its time.
    state.move_on(absence(&state, spec.clock));
    restore_vcpus(&vcpus, &state, TscScaling::of(&kvm))?;
    restore_vm(&vm, &state)?;
    vcpus.iter().for_each(vcpu::tell_of_pause);
    if let Some(id) = spec.generation_id {
        vmgenid::write(&memory, id)?;
        vmgenid::notify(&vm)?;
    }
    let bus = Arc::new(Bus::new(devices.virtio.clone(), devices.serial.clone()));
    let vcpus = Vcpus::start(vcpus, &bus, wiring.ended)?;
    let machine_us = elapsed_us(since);

    devices.keep_overlays();
    let mut machine = Machine::new(kvm, vm, ram, devices, vcpus);
    if spec.run {
        machine.resume();
    }
    let running_us = elapsed_us(since);
    crash_point::reach(CrashPoint::RestoreRunning);
    prefetch::start(machine.ram_range(), &spec.prefetch);
    Ok((
        machine,
        Started {
            memory_us,
            machine_us,
            running_us,
        },
    ))
}

fn open(spec: &RestoreSpec) -> Result<OpenSnapshot, OpenError> {
    let verified: Vec<SnapshotId> = spec.verified.iter().copied().map(SnapshotId).collect();
    let options = OpenOptions {
        verified: &verified,
        ..OpenOptions::default()
    };
    OpenSnapshot::open_with(&spec.snapshot, &spec.ancestors, &options)
}

/// Adds `time` to the absence of every guest whose clocks move on, for tests of long sleeps. Only the first call has an
/// effect.
pub fn pretend_asleep(time: Duration) {
    let _ = PRETENDED.set(time);
}

static PRETENDED: OnceLock<Duration> = OnceLock::new();

/// By how much the guest's clocks are moved on.
fn absence(state: &MachineState, clock: GuestClock) -> Duration {
    if clock == GuestClock::Stands {
        return Duration::ZERO;
    }
    let Some(absence) = clock::absence(&state.clock, clock::wall_clock_ns()) else {
        say(format_args!(
            "the snapshot does not tell when it was made: the guest's monotonic clock goes on where it stood"
        ));
        return Duration::ZERO;
    };
    absence + PRETENDED.get().copied().unwrap_or_default()
}

/// Checks that the request has the saved devices in the same order: the guest depends on both.
fn check_devices(state: &MachineState, spec: &DeviceSpec) -> Result<(), StateError> {
    let saved: Vec<&str> = state
        .devices
        .iter()
        .map(|device| device.name.as_str())
        .collect();
    let now = devices::names(spec);
    if saved != now {
        return Err(StateError::Devices {
            saved: saved.join(", "),
            now: now.join(", "),
        });
    }
    Ok(())
}

/// Refuses a guest whose CPU features this host lacks. Skipped if the snapshot was taken on the same boot of this host.
fn check_cpu(kvm: &Kvm, state: &MachineState) -> Result<(), MachineError> {
    if state.host_boot.is_some() && state.host_boot == host::boot_id() {
        return Ok(());
    }
    let mut supported = supported_cpuid(kvm)?;
    HostCpu::detect().restrict(&mut supported);
    let missing = match state.vcpus.first() {
        Some(vcpu) => cpuid::missing_features(&vcpu.cpuid, &supported),
        None => Vec::new(),
    };
    if missing.is_empty() {
        Ok(())
    } else {
        Err(StateError::Cpu(missing).into())
    }
}

fn restore_devices(devices: &Devices, state: &MachineState) -> Result<(), DeviceError> {
    for (device, saved) in devices.virtio.iter().zip(&state.devices) {
        device
            .restore(&saved.state)
            .map_err(|source| DeviceError::Restore {
                name: saved.name.clone(),
                source,
            })?;
    }
    Ok(())
}

fn restore_vcpus(
    vcpus: &[VcpuFd],
    state: &MachineState,
    scaling: TscScaling,
) -> Result<(), MachineError> {
    for (index, (vcpu, saved)) in vcpus.iter().zip(&state.vcpus).enumerate() {
        saved
            .restore(vcpu, scaling)
            .map_err(|source| MachineError::VcpuState { index, source })?;
    }
    Ok(())
}

fn restore_vm(vm: &VmFd, state: &MachineState) -> Result<(), MachineError> {
    state
        .irqchip
        .restore(vm)
        .map_err(kvm::step("restore the interrupt controllers"))?;
    vm.set_clock(&state.clock)
        .map_err(kvm::step("restore the clock"))?;
    Ok(())
}
