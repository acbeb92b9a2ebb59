//! The reset line behind the keyboard controller, and the ACPI sleep register.
//!
//! There is no keyboard: only the registers with which a guest resets itself (`reboot=k`) or powers off.

use crate::arch::x86_64::aml::SLEEP_TYPE_OFF;
use crate::arch::x86_64::layout;

/// "Pulse output line 0", which is the CPU's reset.
const RESET: u8 = 0xfe;

/// SLP_EN and the place of SLP_TYP in the sleep control register (ACPI 6.5 table 4.17).
const SLEEP_ENABLE: u8 = 1 << 5;
const SLEEP_TYPE_SHIFT: u8 = 2;
const SLEEP_TYPE_MASK: u8 = 0b111;

/// Whether this write to a port resets the guest or powers it off.
pub fn is_shutdown(port: u16, value: u8) -> bool {
    match port {
        layout::I8042_COMMAND => value == RESET,
        layout::SLEEP_CONTROL_PORT => {
            value & SLEEP_ENABLE != 0
                && value >> SLEEP_TYPE_SHIFT & SLEEP_TYPE_MASK == SLEEP_TYPE_OFF
        }
        _ => false,
    }
}

/// The value that a read from one of these ports gives; `None` for other ports.
///
/// Status 0 says "input buffer empty", so the kernel does not wait before it resets.
pub fn read(port: u16) -> Option<u8> {
    match port {
        layout::I8042_DATA | layout::I8042_COMMAND => Some(0),
        layout::SLEEP_CONTROL_PORT | layout::SLEEP_STATUS_PORT => Some(0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reset_and_soft_off_end_the_guest_and_nothing_else_does() {
        assert!(is_shutdown(layout::I8042_COMMAND, 0xfe));
        assert!(is_shutdown(layout::SLEEP_CONTROL_PORT, 0x34));
        assert!(!is_shutdown(layout::I8042_COMMAND, 0xad));
        assert!(!is_shutdown(layout::I8042_DATA, 0xfe));
        assert!(!is_shutdown(layout::SLEEP_CONTROL_PORT, 0x14));
        assert!(!is_shutdown(layout::SLEEP_CONTROL_PORT, 0x30));
    }
}
