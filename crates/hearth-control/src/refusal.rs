//! What the control plane refuses, as plain data. The front has one table from here to AWS's codes and texts.

use std::time::Duration;

use thiserror::Error;

use crate::arn::{ConnectorRef, ImageArn, ManagedImageArn, TaggedArn};
use crate::connector::{ConnectorKey, ConnectorState};
use crate::host::HostError;
use crate::id::{AccountId, BuildId, ConnectorName, ImageName, MicrovmId, RoleName, VersionNumber};
use crate::image::ImageState;
use crate::life::MicrovmState;
use crate::store::StoreError;

/// Why an operation did not happen.
#[derive(Debug, Error)]
pub enum ControlError {
    /// A rule of the domain forbids it. The request is at fault, or its moment.
    #[error("refused: {0:?}")]
    Refused(Refusal),
    /// The store could not be read or written. The service is at fault.
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

/// A rule of the domain that a request runs against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The resource belongs to another account or another region.
    ForeignScope,
    /// A page cursor that this list never gave out.
    BadCursor,
    /// Too many calls of this operation by this account.
    Throttled {
        /// When one more will be taken.
        retry_after: Duration,
    },
    /// The client token was used before, for another request.
    TokenConflict,

    /// No such image.
    ImageNotFound(ImageArn),
    /// No such version, or no such image.
    VersionNotFound(ImageArn, VersionNumber),
    /// No such build.
    BuildNotFound(ImageArn, VersionNumber, BuildId),
    /// No such managed base image.
    ManagedImageNotFound(ManagedImageArn),
    /// The managed base image has no such version, or it was recalled.
    BaseVersionUnavailable {
        /// The base image.
        base: ManagedImageArn,
        /// The version asked for; `None` when no version at all is available.
        version: Option<u32>,
    },
    /// The account has an image of this name already, perhaps one that is being deleted.
    ImageNameTaken(ImageName),
    /// The image is in the middle of something else.
    ImageBusy(ImageArn, ImageState),
    /// The image cannot be deleted in its state.
    ImageNotDeletable(ImageArn, ImageState),
    /// The version's build has not ended, or failed, so that its status cannot be changed.
    VersionNotReady(ImageArn, VersionNumber),
    /// The image would be left without a version.
    LastVersion(ImageArn),
    /// MicroVMs of the image (or of the version to be deleted) still live.
    LiveMicrovms(ImageArn),
    /// The account has as many images as it may.
    ImageQuota {
        /// The account.
        account: AccountId,
        /// How many it may have.
        max: u32,
    },
    /// The image has as many versions as it may.
    VersionQuota {
        /// The image.
        image: ImageArn,
        /// How many it may have.
        max: u32,
    },
    /// The account has as many builds under way as it may.
    BuildQuota(AccountId),
    /// A hook of a microVM is enabled and `/ready` is not.
    ReadyHookMissing,
    /// A hook is enabled and no port is given.
    HookPortMissing,

    /// No version of the image can be launched; also when there is no such image.
    NoActiveVersion {
        /// The image.
        image: ImageArn,
        /// The version that was asked for.
        version: Option<VersionNumber>,
    },
    /// A payload for `/run`, which the image has not enabled.
    PayloadWithoutRunHook,
    /// An ingress connector where an egress connector belongs, or the reverse.
    WrongDirection(ConnectorRef),
    /// A connector that does not exist or is not ACTIVE.
    ConnectorUnusable(ConnectorRef),
    /// The account has as many microVMs as it may.
    MicrovmQuota {
        /// The account.
        account: AccountId,
        /// How many it may have.
        max: u32,
    },
    /// The memory of the account's microVMs would exceed its quota.
    MemoryQuota(AccountId),
    /// The host has no room. Nobody's fault; later it may have.
    InsufficientCapacity,
    /// The microVM could not be forked. It is as it was.
    ForkFailed(MicrovmId),
    /// No such microVM, or another account's.
    MicrovmNotFound(MicrovmId),
    /// The microVM has ended, or is about to.
    MicrovmTerminated(MicrovmId),
    /// The microVM is in a state in which this cannot be done.
    MicrovmBusy(MicrovmId, MicrovmState),

    /// No such resource to be tagged.
    TaggedNotFound(TaggedArn),
    /// More tags than a resource can have.
    TagQuota {
        /// How many it can have.
        max: u32,
    },

    /// No such connector, or no such version of it.
    ConnectorNotFound(ConnectorKey),
    /// The account has a connector of this name already.
    ConnectorNameTaken(ConnectorName),
    /// The connector is in a state in which this cannot be done.
    ConnectorBusy(ConnectorKey, ConnectorState),
    /// Images or live microVMs use the connector.
    ConnectorInUse(ConnectorKey),
    /// The latest version of a connector cannot be deleted alone.
    LatestConnectorVersion(ConnectorKey),
    /// The account has as many connectors, or the connector as many versions, as it may.
    ConnectorQuota {
        /// How many it may have.
        max: u32,
    },

    /// No such account.
    AccountNotFound(AccountId),
    /// The account exists already.
    AccountExists(AccountId),
    /// No such access key.
    AccessKeyNotFound,
    /// The account has as many access keys as it may.
    AccessKeyQuota {
        /// How many it may have.
        max: u32,
    },
    /// No such role.
    RoleNotFound(RoleName),
    /// The account has a role of this name already.
    RoleExists(RoleName),
    /// The role still has policies.
    RoleNotEmpty(RoleName),
    /// No such policy on the role.
    RolePolicyNotFound(RoleName, String),
    /// The account has as many roles, or the role as many policies, as it may.
    RoleQuota {
        /// How many it may have.
        max: u32,
    },
}
