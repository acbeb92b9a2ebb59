//! What Hearth keeps on the disks of its host. Whoever keeps it implements [`Disks`]; the front only words the answer.

use async_trait::async_trait;

/// One thing that takes room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// What it is.
    pub kind: HoldingKind,
    /// Its name: an ARN, an id or the number of an account.
    pub name: String,
    /// Of a version of an image: its number.
    pub version: Option<String>,
    /// Of a version: the guest base (kernel and agent) that it was built on, if that is known.
    pub guest_base: Option<String>,
    /// Of a version: the set of base images that its disks lie on, if that is known.
    pub base_images: Option<String>,
    /// Of what there is more than one of: whether new builds use it. Of a microVM: whether it runs.
    pub is_current: Option<bool>,
    /// What it takes, without what it shares with others.
    pub bytes: u64,
}

/// Kinds of things that take room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HoldingKind {
    /// A version of an image: its snapshot and its own layers.
    Version,
    /// A build under way, or what one left.
    Build,
    /// A microVM: what it wrote, and where it sleeps.
    Microvm,
    /// Layers of earlier builds of an account.
    LayerCache,
    /// A set of base images, shared by all that stands on it.
    BaseImages,
    /// Kernel and agent of guests.
    GuestBase,
    /// A snapshot of a booted guest, from which builders and applications of builds begin.
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
    /// Everything that is kept.
    ///
    /// # Errors
    ///
    /// The cause in words, when the disks cannot be read.
    async fn holdings(&self) -> Result<Vec<Holding>, String>;
}
