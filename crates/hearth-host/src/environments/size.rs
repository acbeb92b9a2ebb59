//! How large the guest of a function is.

/// Memory of the guest's kernel and agent beside that of the function, in MiB.
const OVERHEAD_MIB: u32 = 64;

/// Sizes of guests, in MiB. There is one template for each that is used, so they are few. Memory that a function may
/// not use is never touched, and costs the host nothing.
const GUESTS_MIB: [u32; 12] = [
    256, 384, 640, 832, 1152, 1600, 2112, 3136, 4160, 6208, 8256, 10_304,
];

/// Memory that comes with one vCPU, in MB.
const MB_PER_VCPU: u32 = 1769;

/// Most vCPUs of a function.
const MAX_VCPUS: u32 = 6;

/// The guest of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) memory_mib: u32,
    pub(super) vcpus: u8,
    /// Its share of processors between init and end, in thousandths.
    pub(super) processors_permille: u32,
}

impl Size {
    /// For a function with this `MemorySize`. AWS's megabytes are MiB.
    pub(super) fn of(memory_mb: u32) -> Self {
        let wanted = memory_mb.saturating_add(OVERHEAD_MIB);
        let guest = GUESTS_MIB.into_iter().find(|guest| *guest >= wanted);
        let vcpus = memory_mb.div_ceil(MB_PER_VCPU).clamp(1, MAX_VCPUS);
        let permille = u64::from(memory_mb) * 1000 / u64::from(MB_PER_VCPU);
        Self {
            memory_mib: guest.unwrap_or(wanted),
            // At most six.
            vcpus: vcpus as u8,
            processors_permille: u32::try_from(permille)
                .unwrap_or(u32::MAX)
                .min(MAX_VCPUS * 1000),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_decides_the_share_of_processors() {
        for (memory_mb, memory_mib, vcpus, permille) in [
            (128, 256, 1, 72),
            (512, 640, 1, 289),
            (1769, 2112, 1, 1000),
            (1770, 2112, 2, 1000),
            (3008, 3136, 2, 1700),
            (10_240, 10_304, 6, 5788),
        ] {
            let size = Size {
                memory_mib,
                vcpus,
                processors_permille: permille,
            };
            assert_eq!(Size::of(memory_mb), size, "{memory_mb}");
        }
    }
}
