//! What the control plane refuses, as plain data. One table in the front maps refusals to the codes and texts of AWS.

use std::time::Duration;

use thiserror::Error;

use crate::arn::{ConnectorRef, ImageArn, ManagedImageArn, TaggedArn};
use crate::connector::{ConnectorKey, ConnectorState};
use crate::host::{ArtifactRefusal, HostError};
use crate::id::{AccountId, BuildId, ConnectorName, ImageName, MicrovmId, RoleName, VersionNumber};
use crate::image::{ArtifactUri, ImageState};
use crate::life::MicrovmState;
use crate::managed_policy::PolicyRefusal;
use crate::store::StoreError;

/// Why an operation failed.
#[derive(Debug, Error)]
pub enum ControlError {
    /// A rule of the domain forbids the operation: the request is at fault, or comes at the wrong time.
    #[error("refused: {0:?}")]
    Refused(Refusal),
    /// The store could not be read or written: the service is at fault.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// The host did not answer.
    #[error("the host failed")]
    Host(#[from] HostError),
    /// The control plane is shutting down.
    #[error("shutting down")]
    Closed,
}

impl From<Refusal> for ControlError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// A rule of the domain that a request violates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The resource belongs to another account or another region.
    ForeignScope,
    /// The page cursor was not issued by this list.
    BadCursor,
    /// The account makes too many calls of this operation.
    Throttled {
        /// After this time one more call will be accepted.
        retry_after: Duration,
    },
    /// The client token was used before, for a different request.
    TokenConflict,

    /// The image does not exist.
    ImageNotFound(ImageArn),
    /// The version or its image does not exist.
    VersionNotFound(ImageArn, VersionNumber),
    /// The build does not exist.
    BuildNotFound(ImageArn, VersionNumber, BuildId),
    /// The managed base image does not exist.
    ManagedImageNotFound(ManagedImageArn),
    /// The managed base image has no such version, or the version was recalled.
    BaseVersionUnavailable {
        /// The base image.
        base: ManagedImageArn,
        /// The requested version. `None` if no version at all is available.
        version: Option<u32>,
    },
    /// The account has an image of this name already, or one that is being deleted.
    ImageNameTaken(ImageName),
    /// A change of the image is under way.
    ImageBusy(ImageArn, ImageState),
    /// The image cannot be deleted in its state.
    ImageNotDeletable(ImageArn, ImageState),
    /// No version of the image waits to be built or is being built.
    NoBuildUnderWay(ImageArn, ImageState),
    /// The artifact of the version cannot be read.
    ArtifactUnreadable(ArtifactUri, ArtifactRefusal),
    /// The status cannot be changed: the version's build has not ended, or it failed.
    VersionNotReady(ImageArn, VersionNumber),
    /// The version is the only one of its image.
    LastVersion(ImageArn),
    /// MicroVMs of the image, or of the version to be deleted, still live.
    LiveMicrovms(ImageArn),
    /// The account has reached its quota of images.
    ImageQuota {
        /// The account.
        account: AccountId,
        /// The quota.
        max: u32,
    },
    /// The image has reached its quota of versions.
    VersionQuota {
        /// The image.
        image: ImageArn,
        /// The quota.
        max: u32,
    },
    /// The account has reached its quota of builds under way.
    BuildQuota(AccountId),
    /// A hook of a microVM is enabled and `/ready` is not.
    ReadyHookMissing,
    /// A hook is enabled and no port is given.
    HookPortMissing,

    /// No version of the image can be launched, or the image does not exist.
    NoActiveVersion {
        /// The image.
        image: ImageArn,
        /// The requested version, if the request named one.
        version: Option<VersionNumber>,
    },
    /// The request has a payload for `/run`, but the image has not enabled that hook.
    PayloadWithoutRunHook,
    /// An ingress connector where an egress connector belongs, or the reverse.
    WrongDirection(ConnectorRef),
    /// The connector does not exist or is not ACTIVE.
    ConnectorUnusable(ConnectorRef),
    /// The account has reached its quota of microVMs.
    MicrovmQuota {
        /// The account.
        account: AccountId,
        /// The quota.
        max: u32,
    },
    /// The memory of the account's microVMs would exceed its quota.
    MemoryQuota(AccountId),
    /// The host has no room now.
    InsufficientCapacity,
    /// The microVM could not be forked. It is as before.
    ForkFailed(MicrovmId),
    /// The microVM does not exist, or belongs to another account.
    MicrovmNotFound(MicrovmId),
    /// The microVM has ended or is ending.
    MicrovmTerminated(MicrovmId),
    /// The state of the microVM does not allow the operation.
    MicrovmBusy(MicrovmId, MicrovmState),

    /// The resource to be tagged does not exist.
    TaggedNotFound(TaggedArn),
    /// The resource would have more tags than its quota.
    TagQuota {
        /// The quota.
        max: u32,
    },

    /// The connector or its version does not exist.
    ConnectorNotFound(ConnectorKey),
    /// The account has a connector of this name already.
    ConnectorNameTaken(ConnectorName),
    /// The state of the connector does not allow the operation.
    ConnectorBusy(ConnectorKey, ConnectorState),
    /// Images or live microVMs use the connector.
    ConnectorInUse(ConnectorKey),
    /// The latest version of a connector cannot be deleted alone.
    LatestConnectorVersion(ConnectorKey),
    /// The account has reached its quota of connectors, or the connector its quota of versions.
    ConnectorQuota {
        /// The quota.
        max: u32,
    },

    /// The account does not exist.
    AccountNotFound(AccountId),
    /// The account exists already.
    AccountExists(AccountId),
    /// The access key does not exist.
    AccessKeyNotFound,
    /// The account has reached its quota of access keys.
    AccessKeyQuota {
        /// The quota.
        max: u32,
    },
    /// The role does not exist.
    RoleNotFound(RoleName),
    /// The account has a role of this name already.
    RoleExists(RoleName),
    /// The role still has inline policies.
    RoleNotEmpty(RoleName),
    /// Managed policies are still attached to the role.
    RoleAttached(RoleName),
    /// The role has no such policy.
    RolePolicyNotFound(RoleName, String),
    /// The account has reached its quota of roles.
    RoleQuota {
        /// The quota.
        max: u32,
    },
    /// The role has reached its quota of policies.
    RolePolicyQuota {
        /// The quota.
        max: u32,
    },
    /// An operation on a managed policy is refused.
    ManagedPolicy {
        /// The ARN of the policy.
        arn: String,
        /// The reason.
        why: PolicyRefusal,
    },
}
