//! How long a chain may be, and how fragmented a map.
//!
//! What a capture accepts, [`crate::OpenSnapshot::open`] accepts: [`Limits::CAPTURE`] is nowhere wider than
//! [`Limits::FORMAT`]. Both sides take the limits as a parameter, so that a test can make them small.

/// Bytes of a page.
pub const PAGE_BYTES: u64 = 4096;

/// Limits of a chain and of its merged map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Layers above the full snapshot. This bounds the open files of a restore and the damage of one lost file.
    pub layers: usize,
    /// Runs of the merged map. A capture that would have more is refused.
    pub runs: usize,
    /// Runs that a restore maps; those beyond are copied. A capture that would have more closes gaps between
    /// its runs instead, where that at most doubles what it writes.
    pub mapped_runs: usize,
}

impl Limits {
    /// What a new snapshot keeps to.
    pub const CAPTURE: Self = Self {
        layers: 16,
        ..Self::FORMAT
    };

    /// What is opened. Earlier releases made chains of 32 layers. At 24 bytes each the runs stay below 2 MiB, and
    /// Linux allows a process 65,530 mappings by default (`vm.max_map_count`), of which one run may cost two.
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
