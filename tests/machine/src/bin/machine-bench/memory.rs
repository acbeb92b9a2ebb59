//! What a VMM process costs beside its guest's pages.

use std::fs;

use anyhow::{Context, Result};

/// Proportional set size (proc_pid_smaps(5)) of a process without its guest's RAM, in MiB.
///
/// Guest RAM is told by its mapping: a file named `memory` of a snapshot (Hearth, Firecracker), or an
/// anonymous mapping as large as the guest.
pub(crate) fn pss_beside_guest_mib(pid: u32, guest_mib: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/smaps");
    let smaps = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let (mut is_guest, mut total_kib) = (false, 0);
    for line in smaps.lines() {
        if let Some(bytes) = mapping_bytes(line) {
            let is_memory_file = line.ends_with("/memory") || line.ends_with("/memory (deleted)");
            is_guest = is_memory_file || bytes >= u64::from(guest_mib) << 20;
        } else if !is_guest && let Some(rest) = line.strip_prefix("Pss:") {
            let kib: u64 = rest.trim().trim_end_matches(" kB").parse()?;
            total_kib += kib;
        }
    }
    Ok(total_kib as f64 / 1024.0)
}

/// The length of the mapping that this line begins, if it begins one.
fn mapping_bytes(line: &str) -> Option<u64> {
    let (from, to) = line.split(' ').next()?.split_once('-')?;
    let (from, to) = (
        u64::from_str_radix(from, 16).ok()?,
        u64::from_str_radix(to, 16).ok()?,
    );
    to.checked_sub(from)
}
