//! The domain's enumerations converted to those of the AWS service models, which have the words for the wire.
//!
//! Both directions are matches without a wildcard, so a value that is added on one side alone does not compile.

use hearth_control::connector::{
    ComputeKind, ConnectorFault, ConnectorState, ElasticIp, NetworkProtocol, UpdateStatus,
};
use hearth_control::image::{
    Architecture, BuildState, ImageState, ManagedStatus, VersionState, VersionStatus,
};
use hearth_control::life::MicrovmState;

use crate::model::values::ModelWord;
use crate::model::{lambda_core, lambda_microvms};

/// An enumeration of the domain that a service model has too.
pub(crate) trait Word: Copy + 'static {
    /// The model's enumeration.
    type Model: ModelWord + From<Self>;

    /// Every value.
    const ALL: &'static [Self];

    /// The word of AWS for a value.
    fn text(self) -> &'static str {
        Self::Model::from(self).text()
    }
}

/// Values of the domain that have the same name in a model.
macro_rules! words {
    ($domain:ident => $service:ident::$model:ident { $($value:ident),+ $(,)? }) => {
        impl Word for $domain {
            type Model = $service::$model;

            const ALL: &'static [Self] = &[$(Self::$value),+];
        }

        impl From<$domain> for $service::$model {
            fn from(value: $domain) -> Self {
                match value { $($domain::$value => Self::$value),+ }
            }
        }
    };
}

/// The same where the domain has every value of the model, so that the word can be read as well.
macro_rules! all_words {
    ($domain:ident => $service:ident::$model:ident { $($value:ident),+ $(,)? }) => {
        words!($domain => $service::$model { $($value),+ });

        impl From<$service::$model> for $domain {
            fn from(word: $service::$model) -> Self {
                match word { $($service::$model::$value => Self::$value),+ }
            }
        }
    };
}

words!(ImageState => lambda_microvms::MicrovmImageState {
    Creating, Created, CreateFailed, Updating, Updated, UpdateFailed, Deleting, DeleteFailed,
});
words!(VersionState => lambda_microvms::MicrovmImageVersionState {
    Pending, InProgress, Successful, Failed, Deleting, DeleteFailed,
});
all_words!(VersionStatus => lambda_microvms::MicrovmImageVersionStatus { Active, Inactive });
words!(BuildState => lambda_microvms::BuildState { Pending, InProgress, Successful, Failed });
all_words!(Architecture => lambda_microvms::Architecture { Arm64, X86_64 });
words!(ManagedStatus => lambda_microvms::ManagedMicrovmImageVersionStatus {
    Available, Deprecated, Recalled,
});
words!(MicrovmState => lambda_microvms::MicrovmState {
    Pending, Running, Suspending, Suspended, Terminating, Terminated,
});
words!(ConnectorState => lambda_core::NetworkConnectorState {
    Pending, Active, Failed, Deleting, DeleteFailed,
});
words!(UpdateStatus => lambda_core::NetworkConnectorLastUpdateStatus {
    Successful, Failed, InProgress,
});
words!(ConnectorFault => lambda_core::NetworkConnectorStateReasonCode {
    InvalidSubnet, InvalidSecurityGroup, InternalError,
});
all_words!(NetworkProtocol => lambda_core::NetworkProtocol { Ipv4, DualStack });
all_words!(ComputeKind => lambda_core::ComputeResourceType { Microvm, WebFunction });
all_words!(ElasticIp => lambda_core::ElasticIpType { None, ServiceManaged });

/// The connector state for a word of AWS. `None` for a state that no connector of Hearth ever takes.
pub(crate) fn connector_state(word: lambda_core::NetworkConnectorState) -> Option<ConnectorState> {
    use lambda_core::NetworkConnectorState as Word;
    match word {
        Word::Pending => Some(ConnectorState::Pending),
        Word::Active => Some(ConnectorState::Active),
        Word::Inactive => None,
        Word::Failed => Some(ConnectorState::Failed),
        Word::Deleting => Some(ConnectorState::Deleting),
        Word::DeleteFailed => Some(ConnectorState::DeleteFailed),
    }
}
