//! Identifies the host and its boot: CPU compatibility was checked already if a snapshot was taken on the same boot.

use std::fs::File;
use std::io::Read;
use std::sync::OnceLock;

/// Identity of one boot of one host. What KVM supports does not change within it.
pub(super) type HostBoot = [u8; 16];

/// Length of a UUID as text.
const UUID_TEXT_BYTES: usize = 36;

/// The kernel's random boot id; `None` where `/proc` is not mounted. It is read once.
pub(super) fn boot_id() -> Option<HostBoot> {
    static BOOT_ID: OnceLock<Option<HostBoot>> = OnceLock::new();
    *BOOT_ID.get_or_init(read)
}

/// Reads the boot id ahead of time, for a process that is about to lose its access to `/proc`.
pub(crate) fn remember() {
    let _ = boot_id();
}

fn read() -> Option<HostBoot> {
    let mut text = [0; UUID_TEXT_BYTES];
    File::open("/proc/sys/kernel/random/boot_id")
        .ok()?
        .read_exact(&mut text)
        .ok()?;
    parse(&text)
}

fn parse(text: &[u8]) -> Option<HostBoot> {
    let mut id = [0; 16];
    let mut digits = text.iter().filter(|byte| **byte != b'-');
    for byte in &mut id {
        let mut digit = || char::from(*digits.next()?).to_digit(16);
        // Two hexadecimal digits fit a byte.
        *byte = (digit()? << 4 | digit()?) as u8;
    }
    Some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_read_and_garbage_is_not() {
        let id = parse(b"00112233-4455-6677-8899-aabbccddeeff").unwrap();
        assert_eq!((id[0], id[15]), (0x00, 0xff));
        assert!(parse(b"not a boot id").is_none());
        assert!(boot_id().is_some());
    }
}
