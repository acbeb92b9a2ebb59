//! What instances are launched from, whatever they are for.
//!
//! A template knows no image, no function and no AWS. An image version is a template together with the specification that it
//! was made from ([`crate::image::ImageVersion`]); another kind of controller keeps its own specification beside a template.

/// The sealed state from which any number of instances begin.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Template {
    /// Memory, device state and disks of the moment when it was sealed.
    pub snapshot: SnapshotRef,
    /// The size of the guest that was sealed, which is the size of each instance.
    pub tier: MemoryTier,
}

/// A sealed snapshot on the host. Opaque here: the host's records say which memory, state and disks belong to it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SnapshotRef(pub String);

/// The sizes that an instance can have, named by their baseline memory. Processor share, peak memory, disk and
/// connections follow from it.
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

    /// The tier with this baseline, if there is one.
    #[must_use]
    pub fn from_baseline_mib(baseline_mib: u32) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|tier| tier.baseline_mib() == baseline_mib)
    }

    /// Memory that counts against the account's quota.
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

    /// Memory that the guest sees: four times the baseline.
    #[must_use]
    pub const fn peak_mib(self) -> u32 {
        4 * self.baseline_mib()
    }

    /// Processors that the guest sees; its baseline share is a quarter of them.
    #[must_use]
    pub const fn peak_vcpus(self) -> u32 {
        self.baseline_mib() / 512
    }

    /// The writable disk.
    #[must_use]
    pub const fn disk_gib(self) -> u32 {
        match self {
            Self::Mib512 | Self::Mib1024 | Self::Mib2048 => 8,
            Self::Mib4096 => 16,
            Self::Mib8192 => 32,
        }
    }

    /// Connections through the endpoint at one time.
    #[must_use]
    pub const fn max_connections(self) -> u32 {
        self.baseline_mib() / 64
    }
}
