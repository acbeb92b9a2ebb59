//! What Hearth keeps on the disks of its host. The service implements [`Disks`]; the front only shapes the answer.

use async_trait::async_trait;

/// One thing that takes room on a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// The kind of thing.
    pub kind: HoldingKind,
    /// The name: an ARN, an id or an account number.
    pub name: String,
    /// The number of the version, for a version of an image.
    pub version: Option<String>,
    /// The guest base (kernel and agent) that a version was built on, if known.
    pub guest_base: Option<String>,
    /// The set of base images that the disks of a version are based on, if known.
    pub base_images: Option<String>,
    /// Whether new builds use it, for kinds with several generations. Whether it runs, for a microVM.
    pub is_current: Option<bool>,
    /// The bytes that it takes, without those that it shares with others.
    pub bytes: u64,
}

/// Kinds of things that take room on a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HoldingKind {
    /// A version of an image: its snapshot and its own layers.
    Version,
    /// A build under way, or what an earlier one left behind.
    Build,
    /// A microVM: the data that it wrote, and its snapshots.
    Microvm,
    /// Layers of earlier builds of an account.
    LayerCache,
    /// A set of base images, shared by everything that is based on it.
    BaseImages,
    /// Kernel and agent of guests.
    GuestBase,
    /// A snapshot of a booted guest, from which builders and applications of builds are cloned.
    BootTemplate,
}

impl HoldingKind {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Version => "VERSION",
            Self::Build => "BUILD",
            Self::Microvm => "MICROVM",
            Self::LayerCache => "LAYER_CACHE",
            Self::BootTemplate => "BOOT_TEMPLATE",
            Self::BaseImages => "BASE_IMAGES",
            Self::GuestBase => "GUEST_BASE",
        }
    }
}

/// The disks of a host.
#[async_trait]
pub trait Disks: Send + Sync + 'static {
    /// Lists everything that takes room.
    ///
    /// # Errors
    ///
    /// The cause in words, if the disks cannot be read.
    async fn holdings(&self) -> Result<Vec<Holding>, String>;
}
