//! Scopes, phases and enums as words in columns. They are part of the file format: change none.

use crate::account::KeyStatus;
use crate::arn::Scope;
use crate::connector::{
    ComputeKind, ConnectorFault, ConnectorState, ElasticIp, NetworkProtocol, UpdateStatus,
};
use crate::id::AccountId;
use crate::image::{Architecture, BuildState, ImageState, VersionState, VersionStatus};
use crate::life::{Phase, Wish};
use crate::store::StoreError;
use crate::time::Timestamp;

/// What the resources of an account's tags begin with: accounts have no ARN of their own.
pub(super) const ACCOUNT_RESOURCE: &str = "account/";

/// The tag that is a name.
pub(super) const NAME_TAG: &str = "Name";

/// The resource of an account's tags.
pub(super) fn account_resource(id: AccountId) -> String {
    format!("{ACCOUNT_RESOURCE}{id}")
}

/// An enum with one word for each variant.
pub(super) trait Word: Copy + PartialEq + 'static {
    /// The kind of the value, for errors.
    const KIND: &'static str;
    /// Every variant with its word.
    const WORDS: &'static [(Self, &'static str)];

    /// The word of a variant.
    fn word(self) -> &'static str {
        Self::WORDS
            .iter()
            .find(|(case, _)| *case == self)
            .map_or("", |(_, word)| word)
    }

    /// The variant of a word.
    fn of_word(word: &str) -> Result<Self, StoreError> {
        let found = Self::WORDS.iter().find(|(_, known)| *known == word);
        found
            .map(|(case, _)| *case)
            .ok_or(StoreError::Record { kind: Self::KIND })
    }
}

/// Lists the variants of enums. The `match` makes the compiler ask for a word when a variant is added.
macro_rules! words {
    ($($name:ident $kind:literal { $($case:ident = $word:literal),+ $(,)? })+) => {
        $(impl Word for $name {
            const KIND: &'static str = $kind;
            const WORDS: &'static [(Self, &'static str)] = {
                const fn _every_case_is_listed(case: $name) {
                    match case { $($name::$case => ()),+ }
                }
                &[$(($name::$case, $word)),+]
            };
        })+
    };
}

words! {
    ImageState "image state" {
        Creating = "CREATING",
        Created = "CREATED",
        CreateFailed = "CREATE_FAILED",
        Updating = "UPDATING",
        Updated = "UPDATED",
        UpdateFailed = "UPDATE_FAILED",
        Deleting = "DELETING",
        DeleteFailed = "DELETE_FAILED",
    }
    VersionState "version state" {
        Pending = "PENDING",
        InProgress = "IN_PROGRESS",
        Successful = "SUCCESSFUL",
        Failed = "FAILED",
        Deleting = "DELETING",
        DeleteFailed = "DELETE_FAILED",
    }
    VersionStatus "version status" { Active = "ACTIVE", Inactive = "INACTIVE" }
    BuildState "build state" {
        Pending = "PENDING",
        InProgress = "IN_PROGRESS",
        Successful = "SUCCESSFUL",
        Failed = "FAILED",
    }
    Architecture "architecture" { Arm64 = "ARM_64", X86_64 = "X86_64" }
    ConnectorState "connector state" {
        Pending = "PENDING",
        Active = "ACTIVE",
        Failed = "FAILED",
        Deleting = "DELETING",
        DeleteFailed = "DELETE_FAILED",
    }
    UpdateStatus "update status" {
        Successful = "Successful",
        Failed = "Failed",
        InProgress = "InProgress",
    }
    ConnectorFault "connector fault" {
        InvalidSubnet = "InvalidSubnet",
        InvalidSecurityGroup = "InvalidSecurityGroup",
        InternalError = "InternalError",
    }
    NetworkProtocol "network protocol" { Ipv4 = "IPv4", DualStack = "DualStack" }
    ComputeKind "compute kind" { Microvm = "MicroVm", WebFunction = "WebFunction" }
    ElasticIp "elastic ip" { None = "None", ServiceManaged = "ServiceManaged" }
    KeyStatus "key status" { Active = "Active", Disabled = "Disabled" }
    Wish "wish" { Run = "RUN", Sleep = "SLEEP" }
}

/// The word of a scope in columns.
pub(super) fn scope_text(scope: &Scope) -> String {
    format!("{}/{}", scope.account, scope.region)
}

/// A phase as two columns. The words are part of the file format.
pub(super) fn phase_columns(phase: Phase) -> (&'static str, Option<i64>) {
    match phase {
        Phase::Forking => ("FORKING", None),
        Phase::Launching => ("LAUNCHING", None),
        Phase::RunHook => ("RUN_HOOK", None),
        Phase::ForkHook => ("FORK_HOOK", None),
        Phase::Running => ("RUNNING", None),
        Phase::Sealing { since } => ("SEALING", since.map(Timestamp::unix_ms)),
        Phase::SuspendHook => ("SUSPEND_HOOK", None),
        Phase::Saving => ("SAVING", None),
        Phase::Suspended { since } => ("SUSPENDED", Some(since.unix_ms())),
        Phase::Restoring { since } => ("RESTORING", Some(since.unix_ms())),
        Phase::ResumeHook => ("RESUME_HOOK", None),
        Phase::BackHook => ("BACK_HOOK", None),
        Phase::TerminateHook => ("TERMINATE_HOOK", None),
        Phase::Removing => ("REMOVING", None),
        Phase::Terminated => ("TERMINATED", None),
    }
}

/// The phase of two columns, or `None` if they are no valid phase.
pub(super) fn phase_of(word: &str, since: Option<Timestamp>) -> Option<Phase> {
    Some(match word {
        "FORKING" => Phase::Forking,
        "LAUNCHING" => Phase::Launching,
        "RUN_HOOK" => Phase::RunHook,
        "FORK_HOOK" => Phase::ForkHook,
        "RUNNING" => Phase::Running,
        "SEALING" => Phase::Sealing { since },
        "SUSPEND_HOOK" => Phase::SuspendHook,
        "SAVING" => Phase::Saving,
        "SUSPENDED" => Phase::Suspended { since: since? },
        "RESTORING" => Phase::Restoring { since: since? },
        "RESUME_HOOK" => Phase::ResumeHook,
        "BACK_HOOK" => Phase::BackHook,
        "TERMINATE_HOOK" => Phase::TerminateHook,
        "REMOVING" => Phase::Removing,
        "TERMINATED" => Phase::Terminated,
        _ => return None,
    })
}
