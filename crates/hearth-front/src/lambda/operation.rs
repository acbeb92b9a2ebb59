//! Properties of the operations of both families.

use hearth_control::throttle::Rate;

use crate::model::{OperationModel, lambda_core, lambda_microvms};
use crate::wire::json::Family;

/// An operation of one of the two families.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Microvms(lambda_microvms::Operation),
    Core(lambda_core::Operation),
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
}

impl Operation {
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let microvms = lambda_microvms::Operation::ALL.iter();
        let core = lambda_core::Operation::ALL.iter();
        microvms
            .map(|operation| Self::Microvms(*operation))
            .chain(core.map(|operation| Self::Core(*operation)))
    }

    pub(super) fn model(self) -> &'static OperationModel {
        match self {
            Self::Microvms(operation) => operation.model(),
            Self::Core(operation) => operation.model(),
        }
    }

    pub(crate) fn name(self) -> &'static str {
        self.model().name
    }

    pub(super) fn family(self) -> Family {
        match self {
            Self::Microvms(_) => Family::Microvms,
            Self::Core(_) => Family::Core,
        }
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
            Self::Microvms(_) | Self::Core(_) if self.model().method == "GET" => Rate::OtherRead,
            Self::Microvms(_) | Self::Core(_) => Rate::OtherWrite,
        }
    }

    /// Every operation is listed: a wildcard could check an operation against the wrong resource.
    pub(super) fn subject(self) -> Subject {
        match self {
            Self::Microvms(operation) => microvms_subject(operation),
            Self::Core(operation) => core_subject(operation),
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
