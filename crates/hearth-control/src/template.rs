//! Templates: what instances are launched from, whatever they are for.
//!
//! A template knows no image, no function and no AWS. An image version is a template together with its specification
//! ([`crate::image::ImageVersion`]). Another kind of controller keeps its own specification beside a template.

/// The sealed state that any number of instances can be launched from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Template {
    /// Memory, device state and disks at the moment of the seal.
    pub snapshot: SnapshotRef,
    /// The size of the sealed guest, which is the size of each instance.
    pub tier: MemoryTier,
}

/// The id of a sealed snapshot on the host. Opaque here: the host's records say which files belong to it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SnapshotRef(pub String);

/// The sizes of an instance, named by their baseline memory. Processor share, peak memory, disk and connections
/// follow from the size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MemoryTier {
    /// A quarter of a processor.
    Mib512,
    /// Half a processor.
    Mib1024,
    /// One processor. The default.
    Mib2048,
    /// Two processors.
    Mib4096,
    /// Four processors.
    Mib8192,
}

impl MemoryTier {
    /// Every tier, from small to large.
    pub const ALL: [Self; 5] = [
        Self::Mib512,
        Self::Mib1024,
        Self::Mib2048,
        Self::Mib4096,
        Self::Mib8192,
    ];

    /// The tier with this baseline memory. `None` if there is none.
    #[must_use]
    pub fn from_baseline_mib(baseline_mib: u32) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|tier| tier.baseline_mib() == baseline_mib)
    }

    /// Memory that counts against the account's quota, in MiB.
    #[must_use]
    pub const fn baseline_mib(self) -> u32 {
        match self {
            Self::Mib512 => 512,
            Self::Mib1024 => 1024,
            Self::Mib2048 => 2048,
            Self::Mib4096 => 4096,
            Self::Mib8192 => 8192,
        }
    }

    /// Memory that the guest sees, in MiB: four times the baseline.
    #[must_use]
    pub const fn peak_mib(self) -> u32 {
        4 * self.baseline_mib()
    }

    /// Processors that the guest sees. The baseline share is a quarter of them.
    #[must_use]
    pub const fn peak_vcpus(self) -> u32 {
        self.baseline_mib() / 512
    }

    /// Size of the writable disk, in GiB.
    #[must_use]
    pub const fn disk_gib(self) -> u32 {
        match self {
            Self::Mib512 | Self::Mib1024 | Self::Mib2048 => 8,
            Self::Mib4096 => 16,
            Self::Mib8192 => 32,
        }
    }

    /// Most connections through the endpoint at one time.
    #[must_use]
    pub const fn max_connections(self) -> u32 {
        self.baseline_mib() / 64
    }
}
