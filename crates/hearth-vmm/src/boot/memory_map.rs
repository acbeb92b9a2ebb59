//! Which guest physical memory a kernel may use, for both boot protocols.

use crate::arch::x86_64::layout;

/// Type of an entry, with the numbers of the E820 map, which PVH shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum MemoryType {
    /// Usable RAM.
    Ram = 1,
    /// Reserved for ACPI tables and the generation id.
    Reserved = 2,
}

/// One range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryRange {
    /// First byte.
    pub start: u64,
    /// Bytes.
    pub bytes: u64,
    /// Whether the range is RAM or reserved.
    pub kind: MemoryType,
}

/// The memory map of a machine with `ram_bytes` of RAM (at least the lower end of [`layout::MEMORY_MIB`]).
pub fn of(ram_bytes: u64) -> Vec<MemoryRange> {
    let range = |start, end, kind| MemoryRange {
        start,
        bytes: end - start,
        kind,
    };
    let low_end = ram_bytes.min(layout::LOW_RAM_END);
    let mut map = vec![
        range(0, layout::CONVENTIONAL_END, MemoryType::Ram),
        range(
            layout::CONVENTIONAL_END,
            layout::HIMEM,
            MemoryType::Reserved,
        ),
        range(layout::HIMEM, low_end, MemoryType::Ram),
    ];
    if ram_bytes > low_end {
        let end = layout::HIGH_RAM + ram_bytes - low_end;
        map.push(range(layout::HIGH_RAM, end, MemoryType::Ram));
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_apart_and_count_up_to_ram() {
        for mib in [64, 3071, 3072, 3073, 32768] {
            let map = of(mib << 20);
            assert!(
                map.windows(2)
                    .all(|pair| pair[0].start + pair[0].bytes <= pair[1].start)
            );
            assert_eq!(map.iter().map(|range| range.bytes).sum::<u64>(), mib << 20);
        }
    }

    #[test]
    fn nothing_lies_in_the_hole() {
        let map = of(8 << 30);
        let hole = layout::LOW_RAM_END..layout::HIGH_RAM;
        assert!(
            map.iter()
                .all(|r| r.start + r.bytes <= hole.start || r.start >= hole.end)
        );
    }
}
