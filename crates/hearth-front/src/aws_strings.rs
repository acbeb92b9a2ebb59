//! AWS's words for the domain's enumerations, in both directions.

use hearth_control::connector::{
    ComputeKind, ConnectorFault, ConnectorState, ElasticIp, NetworkProtocol, UpdateStatus,
};
use hearth_control::image::{
    Architecture, BuildState, ImageState, ManagedStatus, VersionState, VersionStatus,
};
use hearth_control::life::MicrovmState;

/// An enumeration that AWS spells as a word.
pub(crate) trait Word: Copy + PartialEq + 'static {
    /// Every value with its word.
    const WORDS: &'static [(Self, &'static str)];

    /// The word of a value.
    fn text(self) -> &'static str {
        Self::WORDS
            .iter()
            .find(|(value, _)| *value == self)
            .map_or("", |(_, word)| word)
    }

    /// The value of a word.
    fn from_text(text: &str) -> Option<Self> {
        Self::WORDS
            .iter()
            .find(|(_, word)| *word == text)
            .map(|(value, _)| *value)
    }
}

/// Defines [`Word`] from a list, and a function without a wildcard that stops compiling when the
/// domain gets a value which the list does not have.
macro_rules! words {
    ($type:ident { $($value:ident = $word:literal),+ $(,)? }) => {
        impl Word for $type {
            const WORDS: &'static [(Self, &'static str)] = &[$(($type::$value, $word)),+];
        }
        const _: fn($type) = |value| match value { $($type::$value => {})+ };
    };
}

words!(ImageState {
    Creating = "CREATING", Created = "CREATED", CreateFailed = "CREATE_FAILED",
    Updating = "UPDATING", Updated = "UPDATED", UpdateFailed = "UPDATE_FAILED",
    Deleting = "DELETING", DeleteFailed = "DELETE_FAILED",
});
words!(VersionState {
    Pending = "PENDING", InProgress = "IN_PROGRESS", Successful = "SUCCESSFUL", Failed = "FAILED",
    Deleting = "DELETING", DeleteFailed = "DELETE_FAILED",
});
words!(VersionStatus { Active = "ACTIVE", Inactive = "INACTIVE" });
words!(BuildState {
    Pending = "PENDING", InProgress = "IN_PROGRESS", Successful = "SUCCESSFUL", Failed = "FAILED",
});
words!(Architecture { Arm64 = "ARM_64", X86_64 = "X86_64" });
words!(ManagedStatus {
    Available = "AVAILABLE", Deprecated = "DEPRECATED", Recalled = "RECALLED",
});
words!(MicrovmState {
    Pending = "PENDING", Running = "RUNNING", Suspending = "SUSPENDING", Suspended = "SUSPENDED",
    Terminating = "TERMINATING", Terminated = "TERMINATED",
});
words!(ConnectorState {
    Pending = "PENDING", Active = "ACTIVE", Failed = "FAILED", Deleting = "DELETING",
    DeleteFailed = "DELETE_FAILED",
});
words!(UpdateStatus { Successful = "Successful", Failed = "Failed", InProgress = "InProgress" });
words!(ConnectorFault {
    InvalidSubnet = "InvalidSubnet", InvalidSecurityGroup = "InvalidSecurityGroup",
    InternalError = "InternalError",
});
words!(NetworkProtocol { Ipv4 = "IPv4", DualStack = "DualStack" });
words!(ComputeKind { Microvm = "MicroVm", WebFunction = "WebFunction" });
words!(ElasticIp { None = "None", ServiceManaged = "ServiceManaged" });
