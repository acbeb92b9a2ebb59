//! Batches: writes to the store as plain data.

use std::fmt;
use std::sync::Arc;

use crate::account::{AccessKey, Account, AccountName, KeyStatus, Role, RolePolicy};
use crate::arn::{ImageArn, Scope, TaggedArn};
use crate::connector::{Connector, ConnectorVersion};
use crate::id::{
    AccessKeyId, AccountId, ConnectorId, ConnectorName, MicrovmId, PolicyName, RoleName,
    VersionNumber,
};
use crate::image::{Build, Image, ImageVersion, Tags};
use crate::life::Life;
use crate::managed_policy::{ManagedPolicy, PolicyArn, PolicyVersion};
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
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a guard.
    #[must_use]
    pub fn guard(mut self, guard: Guard) -> Self {
        self.guards.push(guard);
        self
    }

    /// Adds a change.
    #[must_use]
    pub fn change(mut self, change: Change) -> Self {
        self.changes.push(change);
        self
    }
}

/// The outcome of a batch.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// The changes are durable.
    Committed,
    /// Nothing changed. This guard is the first that did not hold.
    Blocked(Guard),
}

/// A condition that must hold for a batch to be committed.
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
    /// With these keys added, the resource has at most `max` tags.
    TagsFit {
        /// The resource.
        resource: TaggedArn,
        /// The keys to be added.
        keys: Vec<String>,
        /// The most tags that it may have.
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
    /// The connector last changed at this time, so no other caller has changed it since it was read.
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
    /// No managed policy is attached to the role.
    RoleUnattached(AccountId, RoleName),
    /// With this policy attached, the role has at most `max` attached ones.
    AttachmentFits {
        /// The account.
        account: AccountId,
        /// The role.
        role: RoleName,
        /// The policy to be attached, which may be attached already.
        policy_arn: String,
        /// The most attached policies that the role may have.
        max: u32,
    },

    /// The managed policy exists.
    PolicyPresent(PolicyArn),
    /// No managed policy of the account has this name.
    PolicyNameFree(AccountId, PolicyName),
    /// The account has fewer managed policies than this.
    PoliciesBelow(AccountId, u32),
    /// No role has the managed policy.
    PolicyUnattached(PolicyArn),
    /// The managed policy has this version.
    PolicyVersionPresent(PolicyArn, u32),
    /// The managed policy has fewer versions than this.
    PolicyVersionsBelow(PolicyArn, u32),
}

/// One change of the store. `Put` writes a whole record, whether or not it exists.
///
/// A change of one record that must exist fails with
/// [`StoreError::NothingToChange`](super::StoreError::NothingToChange) if it does not exist. No-op if absent are:
/// `Forget...`, `RemoveMicrovm` (called by age), `RemoveTags` (as on AWS) and `Conclude` (not every transition had an
/// intent).
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Records what a client token was used for.
    UseToken(TokenKey, TokenUse),
    /// Removes tokens that were used before a time.
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
    /// Moves a microVM to the next state and raises its generation by one. Fails with
    /// [`StoreError::MovedElsewhere`](super::StoreError::MovedElsewhere) if its generation is not `from_generation`.
    MoveMicrovm {
        /// The microVM.
        id: MicrovmId,
        /// The generation that the move was decided on.
        from_generation: u64,
        /// The state after the move.
        life: Life,
        /// When the microVM ended, if it has.
        terminated_at: Option<Timestamp>,
    },
    /// Sets what counts as activity of a microVM.
    SetActivity(MicrovmId, Activity),
    /// Replaces the terms of a microVM that ended: those without the input of its application.
    SetTerms(MicrovmId, Arc<LaunchTerms>),
    /// Removes a microVM.
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
    /// Sets the name of an account.
    NameAccount(AccountId, AccountName),
    /// Writes a new access key.
    AddAccessKey(AccessKey),
    /// Sets the status of an access key.
    SetAccessKey(AccessKeyId, KeyStatus),
    /// Removes an access key.
    RemoveAccessKey(AccessKeyId),
    /// Writes a role.
    PutRole(Role),
    /// Removes a role.
    RemoveRole(AccountId, RoleName),
    /// Writes an inline policy of a role.
    PutRolePolicy(AccountId, RoleName, RolePolicy),
    /// Removes an inline policy of a role.
    RemoveRolePolicy(AccountId, RoleName, String),
    /// Attaches a managed policy to a role.
    AttachRolePolicy(AccountId, RoleName, String),
    /// Detaches a managed policy from a role.
    DetachRolePolicy(AccountId, RoleName, String),
    /// Writes a managed policy.
    PutPolicy(ManagedPolicy),
    /// Removes a managed policy with its versions.
    RemovePolicy(PolicyArn),
    /// Writes a new version of a managed policy.
    AddPolicyVersion(PolicyArn, PolicyVersion),
    /// Removes one version of a managed policy.
    RemovePolicyVersion(PolicyArn, u32),

    /// Writes the intent of an operation. Replaces the open intent of the same subject.
    Intend(Intent),
    /// Writes the outcome of the open intent of a subject.
    Conclude(IntentSubject, String, Timestamp),
    /// Removes concluded intents that ended before a time.
    ForgetIntents(Timestamp),
}

/// The key of a client token: different operations may use the same token.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TokenKey {
    /// The account and region of the request.
    pub scope: Scope,
    /// The operation, by its AWS name.
    pub operation: &'static str,
    /// The token.
    pub token: ClientToken,
}

/// What a client token was used for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenUse {
    /// The digest of the request.
    pub digest: [u8; 32],
    /// What the request made, as the operation names it.
    pub resource: String,
    /// When the token was used.
    pub at: Timestamp,
}

/// The subject of an intent.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum IntentSubject {
    /// A microVM.
    Microvm(MicrovmId),
    /// An image.
    Image(ImageArn),
}

impl fmt::Display for IntentSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Microvm(id) => id.fmt(f),
            Self::Image(arn) => arn.fmt(f),
        }
    }
}

/// An entry of the journal: an operation that is about to begin on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// The subject.
    pub subject: IntentSubject,
    /// The operation.
    pub what: String,
    /// When the intent was written.
    pub at: Timestamp,
}
