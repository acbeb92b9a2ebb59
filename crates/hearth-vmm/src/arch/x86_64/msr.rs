//! Model-specific registers: their values at boot, and which of them a snapshot keeps.

use kvm_bindings::{Msrs, kvm_msr_entry};
use kvm_ioctls::VcpuFd;

/// Time stamp counter.
pub const TSC: u32 = 0x10;

/// Deadline of the local APIC's timer. Kept back at a restore until the local APIC is there.
pub const TSC_DEADLINE: u32 = 0x6e0;

const MISC_ENABLE: u32 = 0x1a0;
const MTRR_DEFAULT_TYPE: u32 = 0x2ff;

/// Most registers in one call, `MAX_IO_MSRS` of KVM.
const BATCH: usize = 256;

/// Ranges that are not kept: VMX capabilities (nested virtualisation is hidden), performance
/// counters of Intel and AMD (hidden as well), and the synthetic registers of Hyper-V (never
/// offered; KVM lists them all the same).
const NOT_KEPT: [std::ops::RangeInclusive<u32>; 9] = [
    0xc1..=0xc8,
    0x186..=0x18d,
    0x309..=0x30c,
    0x38d..=0x390,
    0x3f1..=0x3f2,
    0x480..=0x493,
    0x4c1..=0x4c8,
    0x4000_0000..=0x4000_ffff,
    0xc001_0000..=0xc001_0007,
];

/// More registers that are not kept: feature control and its companions follow nested
/// virtualisation; branch tracing (AMD's KVM writes a line into the kernel's log for each write of it);
/// the performance counters of later AMD processors; KVM's asynchronous page faults are not offered.
const NOT_KEPT_SINGLE: [u32; 10] = [
    0x3a,
    0x1d9,
    0x345,
    0x570,
    0xc000_0300,
    0xc000_0301,
    0xc000_0302,
    0x4b56_4d02,
    0x4b56_4d06,
    0x4b56_4d07,
];

/// Whether a snapshot keeps register `index` of those that KVM can save.
pub fn is_kept(index: u32) -> bool {
    let extended_counter = (0xc001_0200..=0xc001_020b).contains(&index);
    !extended_counter
        && !NOT_KEPT_SINGLE.contains(&index)
        && !NOT_KEPT.iter().any(|range| range.contains(&index))
}

/// The values that firmware would leave: fast string operations enabled, memory type write-back by default.
pub fn at_boot() -> [kvm_msr_entry; 2] {
    let entry = |index, data| kvm_msr_entry {
        index,
        data,
        ..Default::default()
    };
    [entry(MISC_ENABLE, 1), entry(MTRR_DEFAULT_TYPE, 1 << 11 | 6)]
}

/// Why registers could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum MsrError {
    /// The ioctl failed.
    #[error("KVM refused to access model-specific registers")]
    Call(#[source] kvm_ioctls::Error),
    /// KVM rejected the value of one register.
    #[error("the host does not accept model-specific register {index:#x} = {data:#x}")]
    Refused {
        /// The register.
        index: u32,
        /// The value it was to have.
        data: u64,
    },
}

/// Reads all of `indices` that this vCPU has; the others are left out.
///
/// KVM lists registers that depend on CPUID bits which the guest may not have, and stops at the
/// first one that it cannot read.
pub fn read(vcpu: &VcpuFd, indices: &[u32]) -> Result<Vec<kvm_msr_entry>, MsrError> {
    let mut values = Vec::with_capacity(indices.len());
    let mut rest = indices;
    while !rest.is_empty() {
        let batch = &rest[..rest.len().min(BATCH)];
        let entries: Vec<_> = batch
            .iter()
            .map(|index| kvm_msr_entry {
                index: *index,
                ..Default::default()
            })
            .collect();
        // A batch is below the limit of the wrapper.
        let Ok(mut msrs) = Msrs::from_entries(&entries) else {
            break;
        };
        let read = vcpu.get_msrs(&mut msrs).map_err(MsrError::Call)?;
        values.extend_from_slice(&msrs.as_slice()[..read]);
        let refused = usize::from(read < batch.len());
        rest = &rest[read + refused..];
    }
    Ok(values)
}

/// Writes all of `entries`, in order.
pub fn write(vcpu: &VcpuFd, entries: &[kvm_msr_entry]) -> Result<(), MsrError> {
    for batch in entries.chunks(BATCH) {
        let Ok(msrs) = Msrs::from_entries(batch) else {
            break;
        };
        let written = vcpu.set_msrs(&msrs).map_err(MsrError::Call)?;
        if let Some(refused) = batch.get(written) {
            return Err(MsrError::Refused {
                index: refused.index,
                data: refused.data,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_and_system_calls_are_kept() {
        for index in [TSC, TSC_DEADLINE, 0xc000_0082, 0x4b56_4d01, 0x277] {
            assert!(is_kept(index), "{index:#x}");
        }
    }

    #[test]
    fn what_is_hidden_from_the_guest_is_not_kept() {
        for index in [
            0x480,
            0x38f,
            0x4000_0000,
            0xc001_0004,
            0xc001_0201,
            0x4b56_4d02,
        ] {
            assert!(!is_kept(index), "{index:#x}");
        }
    }
}
