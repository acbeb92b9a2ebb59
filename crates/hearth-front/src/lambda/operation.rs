//! Properties of the operations of all families.

use hearth_control::throttle::Rate;

use crate::model::{OperationModel, lambda, lambda_core, lambda_microvms};
use crate::wire::json::Family;

/// An operation of one of the three families.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Microvms(lambda_microvms::Operation),
    Core(lambda_core::Operation),
    Functions(lambda::Operation),
}

/// What an operation is about: policies are held against it, and refusals name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// Everything of the account.
    All,
    /// What this member names; everything, when it is absent.
    Named(&'static str),
    /// The microVM that `microvmIdentifier` names.
    Microvm,
    /// The image that is to be made, which `name` names.
    NewImage,
    /// The connector that `Identifier` names, by id, name or ARN.
    Connector,
    /// The connector that is to be made, whose ARN nobody knows yet.
    NewConnector,
    /// The function that `FunctionName` and `Qualifier` name.
    Function,
    /// The layer that `LayerName` names, or its version `VersionNumber`.
    Layer,
}

impl Operation {
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let microvms = lambda_microvms::Operation::ALL.iter();
        let core = lambda_core::Operation::ALL.iter();
        let functions = lambda::Operation::ALL.iter();
        microvms
            .map(|operation| Self::Microvms(*operation))
            .chain(core.map(|operation| Self::Core(*operation)))
            .chain(functions.map(|operation| Self::Functions(*operation)))
    }

    pub(super) fn model(self) -> &'static OperationModel {
        match self {
            Self::Microvms(operation) => operation.model(),
            Self::Core(operation) => operation.model(),
            Self::Functions(operation) => operation.model(),
        }
    }

    pub(crate) fn name(self) -> &'static str {
        self.model().name
    }

    pub(super) fn family(self) -> Family {
        match self {
            Self::Microvms(_) => Family::Microvms,
            Self::Core(_) => Family::Core,
            Self::Functions(_) => Family::Functions,
        }
    }

    /// Whether requests may have code of a function or a layer.
    pub(super) fn has_code(self) -> bool {
        use lambda::Operation as Op;
        matches!(
            self,
            Self::Functions(Op::CreateFunction | Op::UpdateFunctionCode | Op::PublishLayerVersion)
        )
    }

    /// The rate that a call is counted against.
    pub(super) fn rate(self) -> Rate {
        use lambda_microvms::Operation as Op;
        match self {
            Self::Microvms(Op::RunMicrovm) => Rate::Run,
            Self::Microvms(Op::ResumeMicrovm) => Rate::Resume,
            Self::Microvms(Op::SuspendMicrovm) => Rate::Suspend,
            Self::Microvms(Op::TerminateMicrovm) => Rate::Terminate,
            Self::Microvms(Op::GetMicrovm) => Rate::Get,
            Self::Microvms(Op::CreateMicrovmAuthToken) => Rate::AuthToken,
            Self::Microvms(Op::CreateMicrovmShellAuthToken) => Rate::ShellToken,
            Self::Functions(
                lambda::Operation::GetFunction | lambda::Operation::GetFunctionConfiguration,
            ) => Rate::Get,
            Self::Microvms(_) | Self::Core(_) | Self::Functions(_)
                if self.model().method == "GET" =>
            {
                Rate::OtherRead
            }
            Self::Microvms(_) | Self::Core(_) | Self::Functions(_) => Rate::OtherWrite,
        }
    }

    /// Every operation is listed: a wildcard could check an operation against the wrong resource.
    pub(super) fn subject(self) -> Subject {
        match self {
            Self::Microvms(operation) => microvms_subject(operation),
            Self::Core(operation) => core_subject(operation),
            Self::Functions(operation) => functions_subject(operation),
        }
    }
}

fn microvms_subject(operation: lambda_microvms::Operation) -> Subject {
    use lambda_microvms::Operation as Op;
    match operation {
        Op::CreateMicrovmAuthToken
        | Op::CreateMicrovmShellAuthToken
        | Op::GetMicrovm
        | Op::ResumeMicrovm
        | Op::SuspendMicrovm
        | Op::TerminateMicrovm => Subject::Microvm,
        Op::DeleteMicrovmImage
        | Op::DeleteMicrovmImageVersion
        | Op::GetMicrovmImage
        | Op::GetMicrovmImageBuild
        | Op::GetMicrovmImageVersion
        | Op::ListManagedMicrovmImageVersions
        | Op::ListMicrovmImageBuilds
        | Op::ListMicrovmImageVersions
        | Op::ListMicrovms
        | Op::RunMicrovm
        | Op::UpdateMicrovmImage
        | Op::UpdateMicrovmImageVersion => Subject::Named("imageIdentifier"),
        Op::CreateMicrovmImage => Subject::NewImage,
        Op::ListTags | Op::TagResource | Op::UntagResource => Subject::Named("Resource"),
        Op::ListManagedMicrovmImages | Op::ListMicrovmImages => Subject::All,
    }
}

fn core_subject(operation: lambda_core::Operation) -> Subject {
    use lambda_core::Operation as Op;
    match operation {
        Op::CreateNetworkConnector => Subject::NewConnector,
        Op::DeleteNetworkConnector
        | Op::GetNetworkConnector
        | Op::ListNetworkConnectorVersions
        | Op::UpdateNetworkConnector => Subject::Connector,
        Op::ListNetworkConnectors => Subject::All,
    }
}

fn functions_subject(operation: lambda::Operation) -> Subject {
    use lambda::Operation as Op;
    match operation {
        Op::AddPermission
        | Op::CreateAlias
        | Op::CreateFunction
        | Op::DeleteAlias
        | Op::DeleteFunction
        | Op::DeleteFunctionConcurrency
        | Op::DeleteFunctionEventInvokeConfig
        | Op::GetAlias
        | Op::GetFunction
        | Op::GetFunctionCodeSigningConfig
        | Op::GetFunctionConcurrency
        | Op::GetFunctionConfiguration
        | Op::GetFunctionEventInvokeConfig
        | Op::GetFunctionRecursionConfig
        | Op::GetPolicy
        | Op::GetRuntimeManagementConfig
        | Op::ListAliases
        | Op::ListDurableExecutionsByFunction
        | Op::ListFunctionEventInvokeConfigs
        | Op::ListFunctionUrlConfigs
        | Op::ListProvisionedConcurrencyConfigs
        | Op::ListVersionsByFunction
        | Op::PublishVersion
        | Op::PutFunctionConcurrency
        | Op::PutFunctionEventInvokeConfig
        | Op::PutFunctionRecursionConfig
        | Op::PutRuntimeManagementConfig
        | Op::RemovePermission
        | Op::UpdateAlias
        | Op::UpdateFunctionCode
        | Op::UpdateFunctionConfiguration
        | Op::UpdateFunctionEventInvokeConfig => Subject::Function,
        Op::AddLayerVersionPermission
        | Op::DeleteLayerVersion
        | Op::GetLayerVersion
        | Op::GetLayerVersionPolicy
        | Op::ListLayerVersions
        | Op::PublishLayerVersion
        | Op::RemoveLayerVersionPermission => Subject::Layer,
        Op::GetLayerVersionByArn => Subject::Named("Arn"),
        Op::ListTags | Op::TagResource | Op::UntagResource => Subject::Named("Resource"),
        Op::GetAccountSettings
        | Op::ListCapacityProviders
        | Op::ListCodeSigningConfigs
        | Op::ListEventSourceMappings
        | Op::ListFunctions
        | Op::ListLayers => Subject::All,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_members_of_their_inputs() {
        for operation in Operation::all() {
            let member = match operation.subject() {
                Subject::All | Subject::NewConnector => continue,
                Subject::Named(member) => member,
                Subject::Connector => "Identifier",
                Subject::Microvm => "microvmIdentifier",
                Subject::NewImage => "name",
                Subject::Function => "FunctionName",
                Subject::Layer => "LayerName",
            };
            let mut members = operation.model().input.iter();
            assert!(
                members.any(|known| known.name == member),
                "{} has no {member}",
                operation.name()
            );
        }
    }
}
