//! Images, their versions and their builds, as the control plane keeps them.

use std::collections::BTreeMap;
use std::fmt;

use crate::arn::{ConnectorRef, ImageArn, ManagedImageArn, Scope};
use crate::hooks::Hooks;
use crate::id::{BuildId, ImageId, ImageName, VersionNumber};
pub use crate::instance::Logging;
use crate::request::RequestToken;
pub use crate::template::MemoryTier;
use crate::template::Template;
use crate::time::Timestamp;

/// Where an image is in its life. [`crate::machine::image`] draws it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ImageState {
    /// Its first version is being built.
    Creating,
    /// The first build succeeded.
    Created,
    /// The first build failed.
    CreateFailed,
    /// A further version is being built, or one is being deleted.
    Updating,
    /// The last update succeeded.
    Updated,
    /// The last update failed; older versions still run.
    UpdateFailed,
    /// It and its versions are being removed.
    Deleting,
    /// Removing it failed; it can be tried again.
    DeleteFailed,
}

impl ImageState {
    /// Whether something is under way that must end before anything else may begin.
    #[must_use]
    pub const fn is_transient(self) -> bool {
        matches!(self, Self::Creating | Self::Updating | Self::Deleting)
    }
}

/// An image. What it is made of stands on its versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its name in its account and region.
    pub arn: ImageArn,
    /// Its identity: another one after deletion and re-creation under the same name.
    pub id: ImageId,
    /// Where it is in its life.
    pub state: ImageState,
    /// The newest version that is SUCCESSFUL and ACTIVE.
    pub latest_active_version: Option<VersionNumber>,
    /// The newest version whose build failed.
    pub latest_failed_version: Option<VersionNumber>,
    /// The number that was given out last; numbers are never used again.
    pub last_version: VersionNumber,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// Where a version is in its life. [`crate::machine::version`] draws it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VersionState {
    /// Waits for its build to begin.
    Pending,
    /// Is being built.
    InProgress,
    /// Has a sealed snapshot.
    Successful,
    /// Its build failed.
    Failed,
    /// Its snapshot is being removed.
    Deleting,
    /// Removing it failed; it can be tried again.
    DeleteFailed,
}

/// Whether new microVMs may be launched from a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VersionStatus {
    /// They may.
    Active,
    /// They may not, not even when the version is named. Running ones are not touched.
    Inactive,
}

/// One version of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageVersion {
    /// The image it belongs to.
    pub image: ImageArn,
    /// Its number.
    pub number: VersionNumber,
    /// Where it is in its life.
    pub state: VersionState,
    /// Whether it may be launched.
    pub status: VersionStatus,
    /// What it was made from, in AWS's words.
    pub spec: ImageSpec,
    /// What its microVMs are launched from, once it is SUCCESSFUL.
    pub template: Option<Template>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// Everything a caller says about an image; each update replaces all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSpec {
    /// The managed base image.
    pub base: ManagedImageArn,
    /// Which of its versions, by the leading number; `None` takes the newest when the build begins.
    pub base_version: Option<u32>,
    /// The role that reads the artifact.
    pub build_role_arn: String,
    /// Free text.
    pub description: Option<String>,
    /// `s3://<bucket>/<key>` of the zip.
    pub artifact: ArtifactUri,
    /// Where the application's output goes.
    pub logging: Option<Logging>,
    /// At most one: the way out during the build, and the default of launches.
    pub egress: Vec<ConnectorRef>,
    /// The processor architectures asked for.
    pub cpu_architectures: Option<Vec<Architecture>>,
    /// The size.
    pub tier: MemoryTier,
    /// Whether the application gets every capability instead of the container default.
    pub capabilities: OsCapabilities,
    /// When and how the application is called about its life.
    pub hooks: Option<Hooks>,
    /// The application's environment.
    pub environment: Option<Environment>,
}

/// The operating system rights of the application inside its guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OsCapabilities {
    /// Those of an ordinary container.
    Container,
    /// Every one: `additionalOsCapabilities: ["ALL"]`.
    All,
}

/// Environment variables. `Debug` shows the names alone: values are often secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct Environment(pub BTreeMap<String, String>);

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// A zip in S3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactUri {
    /// The bucket.
    pub bucket: String,
    /// The key of the object.
    pub key: String,
}

impl fmt::Display for ArtifactUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.key)
    }
}

/// A processor architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Architecture {
    /// `ARM_64`.
    Arm64,
    /// `X86_64`.
    X86_64,
}

/// Where a build is in its life. [`crate::machine::build`] draws it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BuildState {
    /// Waits for a free place.
    Pending,
    /// Works.
    InProgress,
    /// Sealed a snapshot.
    Successful,
    /// Ended with a reason.
    Failed,
}

/// One build of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// Its id.
    pub id: BuildId,
    /// The image.
    pub image: ImageArn,
    /// The version it builds.
    pub version: VersionNumber,
    /// Where it is in its life.
    pub state: BuildState,
    /// The architecture it builds for.
    pub architecture: Architecture,
    /// The processor feature level it builds for, such as "v3".
    pub chipset_generation: String,
    /// Why it failed: a sentence.
    pub reason: Option<String>,
    /// What it made; parts may be known of a failed build too.
    pub sizes: BuildSizes,
    /// How often it was begun: more than once when the service was restarted under it.
    pub attempts: u32,
    /// When it was asked for.
    pub created_at: Timestamp,
}

/// What a build takes on disk, as far as it got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BuildSizes {
    /// The memory snapshot.
    pub memory_bytes: Option<u64>,
    /// The application's file system.
    pub code_install_bytes: Option<u64>,
    /// The disk snapshot.
    pub disk_bytes: Option<u64>,
}

/// A base image that the service provides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManagedImage {
    /// Its name. It is offered in every region.
    pub name: ImageName,
    /// When it appeared.
    pub created_at: Timestamp,
    /// When a version last appeared.
    pub updated_at: Timestamp,
    /// Its versions, newest first.
    pub versions: Vec<ManagedVersion>,
}

/// One version of a managed base image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ManagedVersion {
    /// Its number, written bare: "1".
    pub number: u32,
    /// Whether it should be used.
    pub status: ManagedStatus,
    /// When it appeared.
    pub created_at: Timestamp,
    /// When its status last changed.
    pub updated_at: Timestamp,
}

/// Whether a version of a managed base image should be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ManagedStatus {
    /// Yes.
    Available,
    /// A newer one should.
    Deprecated,
    /// It must not: it has a known fault.
    Recalled,
}

/// What `CreateMicrovmImage` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateImage {
    /// Its name.
    pub name: ImageName,
    /// What it is made from.
    pub spec: ImageSpec,
    /// Its first tags.
    pub tags: Tags,
    /// Makes the call safe to repeat.
    pub client_token: Option<RequestToken>,
}

/// What `UpdateMicrovmImage` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateImage {
    /// Which image.
    pub arn: ImageArn,
    /// What its next version is made from.
    pub spec: ImageSpec,
    /// Makes the call safe to repeat.
    pub client_token: Option<RequestToken>,
}

/// Labels on a resource.
pub type Tags = BTreeMap<String, String>;

/// An image together with the version that a call made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageWithVersion {
    /// The image.
    pub image: Image,
    /// The version.
    pub version: ImageVersion,
}

/// An image together with its tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaggedImage {
    /// The image.
    pub image: Image,
    /// Its tags.
    pub tags: Tags,
}

/// Which builds of a version are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BuildFilter {
    /// Of this architecture only.
    pub architecture: Option<Architecture>,
    /// Of this processor feature level only.
    pub chipset_generation: Option<String>,
}

impl Build {
    /// Whether it is one of those wanted.
    #[must_use]
    pub fn matches(&self, filter: &BuildFilter) -> bool {
        filter
            .architecture
            .is_none_or(|wanted| wanted == self.architecture)
            && filter
                .chipset_generation
                .as_ref()
                .is_none_or(|wanted| *wanted == self.chipset_generation)
    }
}

impl Image {
    /// Who owns it.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.arn.scope
    }
}
