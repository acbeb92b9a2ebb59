//! Limits on the length of a chain and on the fragmentation of its memory map.
//!
//! [`crate::OpenSnapshot::open`] accepts every snapshot that a capture makes: [`Limits::CAPTURE`] is nowhere wider than
//! [`Limits::FORMAT`]. Both sides take the limits as a parameter, so that a test can make them small.

/// Bytes of a page.
pub const PAGE_BYTES: u64 = 4096;

/// Limits of a chain and of its merged map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most layers above the full snapshot. This bounds the open files of a restore and the damage of one lost file.
    pub layers: usize,
    /// Most runs of the merged map. A capture that would have more is refused.
    pub runs: usize,
    /// Most runs that a restore maps; further runs are copied. A capture that would have more closes gaps between its
    /// runs, as far as that at most doubles the written pages.
    pub mapped_runs: usize,
}

impl Limits {
    /// Limits of new snapshots.
    pub const CAPTURE: Self = Self {
        layers: 16,
        ..Self::FORMAT
    };

    /// Limits of snapshots that can be opened. Earlier releases made chains of 32 layers. At 24 bytes each the runs
    /// stay below 2 MiB, and Linux allows a process 65,530 mappings by default (`vm.max_map_count`), of which one run
    /// may cost two.
    pub const FORMAT: Self = Self {
        layers: 32,
        runs: 65_536,
        mapped_runs: 8192,
    };
}

const _: () = assert!(
    Limits::CAPTURE.layers <= Limits::FORMAT.layers
        && Limits::CAPTURE.runs <= Limits::FORMAT.runs
        && 2 * Limits::FORMAT.mapped_runs + 1024 < 65_530
);
