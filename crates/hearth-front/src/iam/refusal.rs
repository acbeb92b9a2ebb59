//! Refusals of the domain in the words of IAM. Those of roles, policies and tags were recorded from AWS.

use hearth_control::managed_policy::{MAX_POLICIES, MAX_POLICY_VERSIONS, PolicyRefusal};
use hearth_control::{ControlError, Refusal};

use crate::fault::Fault;

pub(super) fn refused(error: ControlError) -> Fault {
    let ControlError::Refused(refusal) = error else {
        return Fault {
            code: "ServiceFailure",
            ..Fault::internal(&error)
        };
    };
    match refusal {
        Refusal::RoleNotFound(name) => {
            no_such_entity(format!("The role with name {name} cannot be found."))
        }
        Refusal::RolePolicyNotFound(_, policy) => no_such_entity(format!(
            "The role policy with name {policy} cannot be found."
        )),
        Refusal::RoleExists(name) => exists(format!("Role with name {name} already exists.")),
        Refusal::RoleAttached(_) => {
            in_use("Cannot delete entity, must detach all policies first.".to_owned())
        }
        Refusal::RoleNotEmpty(_) => {
            in_use("Cannot delete entity, must delete policies first.".to_owned())
        }
        Refusal::RoleQuota { max } => beyond("RolesPerAccount", max as usize),
        Refusal::RolePolicyQuota { max } => beyond("PoliciesPerRole", max as usize),
        Refusal::TagQuota { max } => beyond("TagsPerResource", max as usize),
        Refusal::ManagedPolicy { arn, why } => of_policy(&arn, why),
        Refusal::BadCursor => validation("Invalid Marker"),
        other => Fault::internal(&format!("a refusal of another family: {other:?}")),
    }
}

fn of_policy(arn: &str, why: PolicyRefusal) -> Fault {
    match why {
        PolicyRefusal::NotFound => policy_not_found(arn),
        PolicyRefusal::NotAttachable => no_such_entity(format!(
            "Policy {arn} does not exist or is not attachable."
        )),
        PolicyRefusal::VersionNotFound(number) => version_not_found(arn, &format!("v{number}")),
        PolicyRefusal::Exists => {
            let name = arn.rsplit('/').next().unwrap_or_default();
            exists(format!(
                "A policy called {name} already exists. Duplicate names are not allowed."
            ))
        }
        PolicyRefusal::Attached => {
            in_use("Cannot delete a policy attached to entities.".to_owned())
        }
        PolicyRefusal::HasVersions => in_use(
            "This policy has more than one version. Before you delete a policy, you must delete the policy's versions. \
             The default version is deleted with the policy."
                .to_owned(),
        ),
        PolicyRefusal::DefaultVersion => {
            in_use("Cannot delete the default version of a policy.".to_owned())
        }
        PolicyRefusal::VersionQuota => limit(format!(
            "A managed policy can have up to {MAX_POLICY_VERSIONS} versions. Before you create a new version, you must \
             delete an existing version."
        )),
        PolicyRefusal::Quota => beyond("PoliciesPerAccount", MAX_POLICIES as usize),
    }
}

pub(super) fn validation(message: &str) -> Fault {
    Fault::new(400, "ValidationError", message)
}

pub(super) fn invalid_input(message: impl Into<String>) -> Fault {
    Fault::new(400, "InvalidInput", message)
}

pub(super) fn policy_not_found(arn: &str) -> Fault {
    no_such_entity(format!("Policy {arn} was not found."))
}

pub(super) fn version_not_found(arn: &str, version: &str) -> Fault {
    no_such_entity(format!(
        "Policy {arn} version {version} does not exist or is not attachable."
    ))
}

/// A quota of IAM is exceeded.
pub(super) fn beyond(quota: &str, max: usize) -> Fault {
    limit(format!("Cannot exceed quota for {quota}: {max}"))
}

pub(super) fn limit(message: String) -> Fault {
    Fault::new(409, "LimitExceeded", message)
}

fn no_such_entity(message: String) -> Fault {
    Fault::new(404, "NoSuchEntity", message)
}

fn exists(message: String) -> Fault {
    Fault::new(409, "EntityAlreadyExists", message)
}

fn in_use(message: String) -> Fault {
    Fault::new(409, "DeleteConflict", message)
}
