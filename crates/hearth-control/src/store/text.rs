//! Enums as the words that stand in columns. They are part of the file format: change none.

use crate::account::KeyStatus;
use crate::connector::{
    ComputeKind, ConnectorFault, ConnectorState, ElasticIp, NetworkProtocol, UpdateStatus,
};
use crate::image::{Architecture, BuildState, ImageState, VersionState, VersionStatus};
use crate::life::Wish;
use crate::store::StoreError;

/// A value with one word for each of its cases.
pub(super) trait Word: Copy + PartialEq + 'static {
    /// What it is, for errors.
    const KIND: &'static str;
    /// Every case with its word.
    const WORDS: &'static [(Self, &'static str)];

    /// The word of a case.
    fn word(self) -> &'static str {
        Self::WORDS
            .iter()
            .find(|(case, _)| *case == self)
            .map_or("", |(_, word)| word)
    }

    /// The case of a word.
    fn of_word(word: &str) -> Result<Self, StoreError> {
        let found = Self::WORDS.iter().find(|(_, known)| *known == word);
        found
            .map(|(case, _)| *case)
            .ok_or(StoreError::Record { kind: Self::KIND })
    }
}

/// Lists the cases of enums. The `match` makes the compiler ask for a word when a case is added.
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
