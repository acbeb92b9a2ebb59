//! Images, their versions and their builds, as the control plane stores them.

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

/// The state of an image. [`crate::machine::image`] draws the transitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ImageState {
    /// The first version is being built.
    Creating,
    /// The first build succeeded.
    Created,
    /// The first build failed.
    CreateFailed,
    /// A further version is being built, or a version is being deleted.
    Updating,
    /// The last update succeeded.
    Updated,
    /// The last update failed. Older versions can still be launched.
    UpdateFailed,
    /// The image and its versions are being removed.
    Deleting,
    /// The removal failed. It can be retried.
    DeleteFailed,
}

impl ImageState {
    /// Whether work is under way that must end before another change may begin.
    #[must_use]
    pub const fn is_transient(self) -> bool {
        matches!(self, Self::Creating | Self::Updating | Self::Deleting)
    }
}

/// An image. Its versions say what it is built from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The ARN of the image, with its name.
    pub arn: ImageArn,
    /// The internal id. An image that is deleted and created again under the same name has another one.
    pub id: ImageId,
    /// The state of the image.
    pub state: ImageState,
    /// The newest version that is SUCCESSFUL and ACTIVE.
    pub latest_active_version: Option<VersionNumber>,
    /// The newest version whose build failed.
    pub latest_failed_version: Option<VersionNumber>,
    /// The highest version number used so far. Numbers are never used again.
    pub last_version: VersionNumber,
    /// When the image was created.
    pub created_at: Timestamp,
    /// When the image last changed.
    pub updated_at: Timestamp,
}

/// The state of a version. [`crate::machine::version`] draws the transitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VersionState {
    /// The build has not begun.
    Pending,
    /// The build is under way.
    InProgress,
    /// The version has a sealed snapshot.
    Successful,
    /// The build failed.
    Failed,
    /// The snapshot is being removed.
    Deleting,
    /// The removal failed. It can be retried.
    DeleteFailed,
}

/// Whether new microVMs may be launched from a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VersionStatus {
    /// New microVMs may be launched.
    Active,
    /// No new microVMs may be launched, even if the request names the version. Running ones are not affected.
    Inactive,
}

/// One version of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageVersion {
    /// The image that the version belongs to.
    pub image: ImageArn,
    /// The version number.
    pub number: VersionNumber,
    /// The state of the version.
    pub state: VersionState,
    /// Whether the version may be launched.
    pub status: VersionStatus,
    /// What the version is built from.
    pub spec: ImageSpec,
    /// The template that microVMs are launched from, once the version is SUCCESSFUL.
    pub template: Option<Template>,
    /// When the version was requested.
    pub created_at: Timestamp,
    /// When the version last changed.
    pub updated_at: Timestamp,
}

/// The specification of an image: all that a caller says about it. Each update replaces it as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSpec {
    /// The managed base image.
    pub base: ManagedImageArn,
    /// The version of the base image. `None` takes the newest one when the build begins.
    pub base_version: Option<u32>,
    /// The role that reads the artifact.
    pub build_role_arn: String,
    /// The description, free text.
    pub description: Option<String>,
    /// `s3://<bucket>/<key>` of the zip.
    pub artifact: ArtifactUri,
    /// Where the output of the application goes.
    pub logging: Option<Logging>,
    /// The egress connector during the build, and the default of launches. At most one.
    pub egress: Vec<ConnectorRef>,
    /// The requested processor architectures.
    pub cpu_architectures: Option<Vec<Architecture>>,
    /// The memory size.
    pub tier: MemoryTier,
    /// Whether the application gets every capability instead of the container default.
    pub capabilities: OsCapabilities,
    /// The lifecycle hooks.
    pub hooks: Option<Hooks>,
    /// The environment variables of the application.
    pub environment: Option<Environment>,
}

/// The Linux capabilities of the application in its guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OsCapabilities {
    /// The capabilities of an ordinary container.
    Container,
    /// All capabilities: `additionalOsCapabilities: ["ALL"]`.
    All,
}

/// Environment variables that the service sets itself.
pub const RESERVED_VARIABLES: [&str; 5] = [
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_LAMBDA_MICROVM_IMAGE_NAME",
    "AWS_LAMBDA_MICROVM_IMAGE_ARN",
    "AWS_LAMBDA_MICROVM_IMAGE_VERSION",
];

/// Environment variables. `Debug` shows the names only: values are often secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct Environment(pub BTreeMap<String, String>);

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// The address of a zip file in S3.
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

/// The state of a build. [`crate::machine::build`] draws the transitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BuildState {
    /// The build waits for a free slot.
    Pending,
    /// The build is under way.
    InProgress,
    /// The build sealed a snapshot.
    Successful,
    /// The build failed, with a reason.
    Failed,
}

/// One build of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// The id of the build.
    pub id: BuildId,
    /// The image.
    pub image: ImageArn,
    /// The version that is built.
    pub version: VersionNumber,
    /// The state of the build.
    pub state: BuildState,
    /// The architecture that the build is for.
    pub architecture: Architecture,
    /// The processor feature level that the build is for, such as "v3".
    pub chipset_generation: String,
    /// Why the build failed: a sentence.
    pub reason: Option<String>,
    /// The sizes of the result. A failed build may know some of them too.
    pub sizes: BuildSizes,
    /// How often the build began: more than once if the service restarted during the build.
    pub attempts: u32,
    /// When the build was requested.
    pub created_at: Timestamp,
}

/// What the result of a build takes on disk, as far as known, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BuildSizes {
    /// Size of the memory snapshot.
    pub memory_bytes: Option<u64>,
    /// Size of the application's file system.
    pub code_install_bytes: Option<u64>,
    /// Size of the disk snapshot.
    pub disk_bytes: Option<u64>,
}

/// A base image that the service provides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManagedImage {
    /// The name of the image. It is offered in every region.
    pub name: ImageName,
    /// When the image was published.
    pub created_at: Timestamp,
    /// When a version was last published.
    pub updated_at: Timestamp,
    /// The versions, newest first.
    pub versions: Vec<ManagedVersion>,
}

/// One version of a managed base image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ManagedVersion {
    /// The version number, written as a bare number: "1".
    pub number: u32,
    /// Whether the version should be used.
    pub status: ManagedStatus,
    /// When the version was published.
    pub created_at: Timestamp,
    /// When the status last changed.
    pub updated_at: Timestamp,
}

/// Whether a version of a managed base image should be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ManagedStatus {
    /// The version can be used.
    Available,
    /// A newer version should be used.
    Deprecated,
    /// The version must not be used: it has a known fault.
    Recalled,
}

/// The input of `CreateMicrovmImage`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateImage {
    /// The name of the image.
    pub name: ImageName,
    /// The specification of the first version.
    pub spec: ImageSpec,
    /// The tags of the new image.
    pub tags: Tags,
    /// The client token, which makes the call idempotent.
    pub client_token: Option<RequestToken>,
}

/// The input of `UpdateMicrovmImage`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateImage {
    /// The image.
    pub arn: ImageArn,
    /// The specification of the next version.
    pub spec: ImageSpec,
    /// The client token, which makes the call idempotent.
    pub client_token: Option<RequestToken>,
}

/// The tags of a resource: key to value.
pub type Tags = BTreeMap<String, String>;

/// An image together with the version that a call created.
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
    /// The tags.
    pub tags: Tags,
}

/// Which builds of a version to list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BuildFilter {
    /// Only builds for this architecture.
    pub architecture: Option<Architecture>,
    /// Only builds for this processor feature level.
    pub chipset_generation: Option<String>,
}

impl Build {
    /// Whether the build passes the filter.
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
    /// The account and region that own the image.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.arn.scope
    }
}
