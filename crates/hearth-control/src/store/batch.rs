//! Writes as plain data.

use std::fmt;
use std::sync::Arc;

use crate::account::{AccessKey, Account, KeyStatus, Role, RolePolicy};
use crate::arn::{ImageArn, Scope, TaggedArn};
use crate::connector::{Connector, ConnectorVersion};
use crate::id::{
    AccessKeyId, AccountId, ConnectorId, ConnectorName, MicrovmId, RoleName, VersionNumber,
};
use crate::image::{Build, Image, ImageVersion, Tags};
use crate::life::Life;
use crate::microvm::{Activity, LaunchTerms, Microvm};
use crate::request::ClientToken;
use crate::time::Timestamp;

/// Changes that happen together if every guard holds.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Batch {
    /// What must hold before.
    pub guards: Vec<Guard>,
    /// What changes, in order.
    pub changes: Vec<Change>,
}

impl Batch {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// And this must hold.
    #[must_use]
    pub fn guard(mut self, guard: Guard) -> Self {
        self.guards.push(guard);
        self
    }

    /// And this changes.
    #[must_use]
    pub fn change(mut self, change: Change) -> Self {
        self.changes.push(change);
        self
    }
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// It is durable.
    Committed,
    /// Nothing changed, because of this guard: the first one that did not hold.
    Blocked(Guard),
}

/// Something that must hold.
#[derive(Debug, Clone, PartialEq)]
pub enum Guard {
    /// The client token has not been used.
    TokenFree(TokenKey),

    /// No image has this name.
    ImageAbsent(ImageArn),
    /// The scope has fewer images than this.
    ImagesBelow(Scope, u32),
    /// The scope has fewer open builds than this.
    OpenBuildsBelow(Scope, u32),
    /// No microVM of the image, or of one version of it, lives.
    NoLivingMicrovms(ImageArn, Option<VersionNumber>),
    /// The microVM is not TERMINATED.
    MicrovmLiving(MicrovmId),
    /// The version is SUCCESSFUL and ACTIVE, and its image is not being deleted.
    Launchable(ImageArn, VersionNumber),

    /// The resource exists.
    TaggedPresent(TaggedArn),
    /// With these keys the resource has at most so many tags.
    TagsFit {
        /// The resource.
        resource: TaggedArn,
        /// The keys to be.
        keys: Vec<String>,
        /// How many it may have.
        max: u32,
    },

    /// No connector has this name.
    ConnectorNameFree(Scope, ConnectorName),
    /// The scope has fewer connectors than this.
    ConnectorsBelow(Scope, u32),
    /// The connector exists and is ACTIVE.
    ConnectorActive(ConnectorId),
    /// No living microVM and no image version uses the connector.
    ConnectorUnused(ConnectorId),
    /// The connector last changed at this moment: nobody else has changed it since it was read.
    ConnectorUnchanged(ConnectorId, Timestamp),

    /// The account exists.
    AccountPresent(AccountId),
    /// The account does not exist.
    AccountAbsent(AccountId),
    /// There is no account at all.
    NoAccounts,
    /// The access key exists.
    AccessKeyPresent(AccessKeyId),
    /// The account has fewer access keys than this.
    AccessKeysBelow(AccountId, u32),
    /// The role exists.
    RolePresent(AccountId, RoleName),
    /// The role does not exist.
    RoleAbsent(AccountId, RoleName),
    /// The account has fewer roles than this.
    RolesBelow(AccountId, u32),
    /// The role has fewer policies, attached ones included, than this.
    RolePoliciesBelow(AccountId, RoleName, u32),
}

/// Something that changes. `Put` writes a record whole, whether or not it is there.
///
/// A change of one record that must exist fails with
/// [`StoreError::NothingToChange`](super::StoreError::NothingToChange) if it does not exist. No-op if absent are:
/// `Forget...`, `RemoveMicrovm` (called by age), `RemoveTags` (as on AWS) and `Conclude` (not every transition had an intent).
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Notes what a client token was used for.
    UseToken(TokenKey, TokenUse),
    /// Forgets tokens that were used before a moment.
    ForgetTokens(Timestamp),

    /// Writes an image.
    PutImage(Image),
    /// Removes an image with its versions, builds, tags and client tokens.
    RemoveImage(ImageArn),
    /// Writes a version.
    PutVersion(Box<ImageVersion>),
    /// Removes a version with its builds.
    RemoveVersion(ImageArn, VersionNumber),
    /// Writes a build.
    PutBuild(Build),

    /// Writes a new microVM.
    AddMicrovm(Microvm),
    /// Moves a microVM on in its life and raises its generation by one. Fails with
    /// [`StoreError::MovedElsewhere`](super::StoreError::MovedElsewhere) if its generation is another one.
    MoveMicrovm {
        /// Which.
        id: MicrovmId,
        /// The generation that the move was decided on.
        from_generation: u64,
        /// Where it is now.
        life: Life,
        /// When it ended, if it has.
        terminated_at: Option<Timestamp>,
    },
    /// Says what counts as activity of a microVM.
    SetActivity(MicrovmId, Activity),
    /// Writes the terms of a microVM anew: those of one that ended, without what only its application was told.
    SetTerms(MicrovmId, Arc<LaunchTerms>),
    /// Forgets a microVM.
    RemoveMicrovm(MicrovmId),

    /// Writes tags.
    PutTags(TaggedArn, Tags),
    /// Removes tags.
    RemoveTags(TaggedArn, Vec<String>),

    /// Writes a connector.
    PutConnector(Connector),
    /// Writes a version of a connector.
    PutConnectorVersion(ConnectorVersion),
    /// Removes one version of a connector.
    RemoveConnectorVersion(ConnectorId, u32),
    /// Removes a connector with its versions, tags and client tokens.
    RemoveConnector(Connector),

    /// Writes a new account.
    AddAccount(Account),
    /// Writes a new access key.
    AddAccessKey(AccessKey),
    /// Switches an access key.
    SetAccessKey(AccessKeyId, KeyStatus),
    /// Removes an access key.
    RemoveAccessKey(AccessKeyId),
    /// Writes a role.
    PutRole(Role),
    /// Removes a role.
    RemoveRole(AccountId, RoleName),
    /// Writes a policy on a role.
    PutRolePolicy(AccountId, RoleName, RolePolicy),
    /// Removes a policy from a role.
    RemoveRolePolicy(AccountId, RoleName, String),
    /// Attaches a policy to a role.
    AttachRolePolicy(AccountId, RoleName, String),
    /// Detaches a policy from a role.
    DetachRolePolicy(AccountId, RoleName, String),

    /// Writes down what is about to be done. It replaces what was open for the same subject.
    Intend(Intent),
    /// Writes down how what is open for a subject came out.
    Conclude(Subject, String, Timestamp),
    /// Forgets concluded intents that ended before a moment.
    ForgetIntents(Timestamp),
}

/// A use of a client token: the same token may serve different operations.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TokenKey {
    /// Whose.
    pub scope: Scope,
    /// For which operation, by its AWS name.
    pub operation: &'static str,
    /// The token.
    pub token: ClientToken,
}

/// What a client token was used for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenUse {
    /// A digest of the request.
    pub digest: [u8; 32],
    /// What the request made, as the operation names it.
    pub resource: String,
    /// When.
    pub at: Timestamp,
}

/// Who an intent is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A microVM.
    Microvm(MicrovmId),
    /// An image.
    Image(ImageArn),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Microvm(id) => id.fmt(f),
            Self::Image(arn) => arn.fmt(f),
        }
    }
}

/// An entry of the journal: what is about to be done on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// To whom.
    pub subject: Subject,
    /// What.
    pub what: String,
    /// Since when.
    pub at: Timestamp,
}
