//! The machine state in a snapshot: everything except memory and disks.
//!
//! ```text
//! u16 LE  version of the types here and in arch      MACHINE_STATE_VERSION
//! u16 LE  version of the devices' types              virtio::STATE_VERSION
//! ...     MachineState, encoded by postcard
//! ```
//!
//! The order of the fields is the format. Any change of a type in it needs a new version.

use std::time::Duration;

use kvm_bindings::kvm_clock_data;
use serde::{Deserialize, Serialize};

use super::error::StateError;
use super::host::HostBoot;
use crate::arch::x86_64::clock;
use crate::arch::x86_64::irqchip::IrqchipState;
use crate::arch::x86_64::layout;
use crate::arch::x86_64::vcpu_state::VcpuState;
use crate::say;
use crate::serial::PortState;
use crate::virtio::{self, DeviceState};

/// Version of everything that [`MachineState`] is made of, except the devices.
pub const MACHINE_STATE_VERSION: u16 = 1;

const PREFIX_BYTES: usize = 4;

const _: () = assert!(size_of::<kvm_clock_data>() == 48);

/// Saved state of one virtio device.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SavedDevice {
    /// Name of the device, which says its kind and role.
    pub name: String,
    /// Registers, queues, and the device-specific part.
    pub state: DeviceState,
}

/// Saved state of a machine.
#[derive(Debug, Serialize, Deserialize)]
pub struct MachineState {
    /// The boot of the host on which the state was saved. On the same boot, the CPU features need not be compared.
    pub(super) host_boot: Option<HostBoot>,
    /// vCPUs in the order of their numbers.
    pub(super) vcpus: Vec<VcpuState>,
    /// Interrupt controllers.
    pub(super) irqchip: IrqchipState,
    /// The paravirtual clock, and the wall clock at that moment (`arch/x86_64/clock.rs`).
    pub(super) clock: kvm_clock_data,
    /// The serial port, if the machine has one.
    pub(super) serial: Option<PortState>,
    /// virtio devices in the order of their windows.
    pub(super) devices: Vec<SavedDevice>,
}

impl MachineState {
    /// Encodes the state, with the versions in front.
    pub fn encode(&self) -> Result<Vec<u8>, postcard::Error> {
        let mut bytes = Vec::with_capacity(16 << 10);
        bytes.extend_from_slice(&MACHINE_STATE_VERSION.to_le_bytes());
        bytes.extend_from_slice(&virtio::STATE_VERSION.to_le_bytes());
        postcard::to_extend(self, bytes)
    }

    /// Moves all clocks of the guest on by the time in which it did not run.
    pub(super) fn move_on(&mut self, absence: Duration) {
        self.clock = clock::moved_on(&self.clock, absence);
        let moved = self.vcpus.iter_mut().map(|vcpu| vcpu.move_on(absence));
        // Not short-circuited: every vCPU has a timer.
        let all_moved = moved.fold(true, |all, one| all & one);
        if !all_moved && !absence.is_zero() {
            say(format_args!(
                "the frequency of the guest's time stamp counter is not known: it goes on where it stood"
            ));
        }
    }

    /// Decodes the bytes that [`MachineState::encode`] wrote. Fails if they are of another version or malformed.
    pub fn decode(bytes: &[u8]) -> Result<Self, StateError> {
        let (prefix, body) = bytes
            .split_first_chunk::<PREFIX_BYTES>()
            .ok_or(StateError::Short)?;
        let found_machine = u16::from_le_bytes([prefix[0], prefix[1]]);
        let found_devices = u16::from_le_bytes([prefix[2], prefix[3]]);
        let (machine, devices) = (MACHINE_STATE_VERSION, virtio::STATE_VERSION);
        if (found_machine, found_devices) != (machine, devices) {
            return Err(StateError::Version {
                found_machine,
                found_devices,
                machine,
                devices,
            });
        }
        let state: Self = postcard::from_bytes(body).map_err(StateError::Decode)?;
        if !(1..=usize::from(layout::VCPUS_MAX)).contains(&state.vcpus.len()) {
            return Err(StateError::Vcpus(state.vcpus.len()));
        }
        Ok(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_version_is_named_and_a_stub_is_refused() {
        let error = MachineState::decode(&[9, 0, 1, 0, 0]).unwrap_err();
        assert!(error.to_string().contains("version 9.1"), "{error}");
        assert!(matches!(
            MachineState::decode(&[1, 0]),
            Err(StateError::Short)
        ));
    }

    #[test]
    fn garbage_behind_the_versions_does_not_panic() {
        for length in 0..64 {
            let mut bytes = vec![1, 0, 1, 0];
            bytes.extend(std::iter::repeat_n(0xff, length));
            assert!(MachineState::decode(&bytes).is_err());
        }
    }
}
