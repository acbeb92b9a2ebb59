//! Guards as expectations on rows.

use crate::arn::TaggedArn;
use crate::connector::ConnectorState;
use crate::id::{AccountId, RoleName};
use crate::image::{BuildState, ImageState, VersionState, VersionStatus};
use crate::managed_policy::PolicyArn;
use crate::store::Guard;
use crate::store::primitive::{Expect, Rows, Test};
use crate::store::text::{Word as _, scope_text};

/// The expectations of a guard. All must hold.
pub(super) fn expects(guard: &Guard) -> Vec<Expect> {
    let present = |rows| vec![Expect::Present(rows)];
    let absent = |rows| vec![Expect::Absent(rows)];
    let fewer = |rows, max: u32| vec![Expect::Fewer(vec![rows], max as usize)];
    match guard {
        Guard::TokenFree(key) => absent(
            Rows::of("client_token")
                .is("scope", scope_text(&key.scope))
                .is("operation", key.operation)
                .is("token", key.token.0.as_str()),
        ),

        Guard::ImageAbsent(arn) => absent(Rows::of("image").is("arn", arn.to_string())),
        Guard::ImagesBelow(scope, max) => {
            fewer(Rows::of("image").is("scope", scope_text(scope)), *max)
        }
        Guard::OpenBuildsBelow(scope, max) => {
            let open = [BuildState::Pending, BuildState::InProgress];
            let builds = Rows::of("build").is("scope", scope_text(scope));
            let open = Test::OneOf(open.map(|state| state.word()).into());
            fewer(builds.test("state", open), *max)
        }
        Guard::NoLivingMicrovms(arn, number) => {
            let living = Rows::of("microvm")
                .is("image", arn.to_string())
                .test("terminated", Test::Missing);
            absent(match number {
                Some(number) => living.is("number", number.major()),
                None => living,
            })
        }
        Guard::MicrovmLiving(id) => present(
            Rows::of("microvm")
                .is("id", id.to_string())
                .test("terminated", Test::Missing),
        ),
        Guard::Launchable(arn, number) => {
            let version = Rows::of("version")
                .is("image", arn.to_string())
                .is("number", number.major())
                .is("state", VersionState::Successful.word())
                .is("status", VersionStatus::Active.word());
            let deleted = [ImageState::Deleting, ImageState::DeleteFailed];
            let kept = Test::NoneOf(deleted.map(|state| state.word().to_owned()).into());
            let image = Rows::of("image")
                .is("arn", arn.to_string())
                .test("state", kept);
            vec![Expect::Present(version), Expect::Present(image)]
        }

        Guard::TaggedPresent(TaggedArn::Image(arn)) => {
            present(Rows::of("image").is("arn", arn.to_string()))
        }
        Guard::TaggedPresent(TaggedArn::Connector(arn)) => present(
            Rows::of("connector")
                .is("id", arn.id.to_string())
                .is("scope", scope_text(&arn.scope)),
        ),
        Guard::TagsFit {
            resource,
            keys,
            max,
        } => {
            let others = Rows::of("tag")
                .is("resource", resource.to_string())
                .test("key", Test::NoneOf(keys.clone()));
            // The other tags and these are at most `max` together.
            let room = (*max as usize + 1).saturating_sub(keys.len());
            vec![Expect::Fewer(vec![others], room)]
        }

        Guard::ConnectorNameFree(scope, name) => absent(
            Rows::of("connector")
                .is("scope", scope_text(scope))
                .is("name", name.as_str()),
        ),
        Guard::ConnectorsBelow(scope, max) => {
            fewer(Rows::of("connector").is("scope", scope_text(scope)), *max)
        }
        Guard::ConnectorActive(id) => present(
            Rows::of("connector")
                .is("id", id.to_string())
                .is("state", ConnectorState::Active.word()),
        ),
        Guard::ConnectorUnused(id) => {
            // The id is a UUID, so if its text is anywhere in the terms, an ARN there names it.
            let named = || Test::Contains(id.to_string());
            let microvms = Rows::of("microvm")
                .test("terminated", Test::Missing)
                .test("terms", named());
            let failed = vec![VersionState::Failed.word().to_owned()];
            let versions = Rows::of("version")
                .test("state", Test::NoneOf(failed))
                .test("spec", named());
            vec![Expect::Absent(microvms), Expect::Absent(versions)]
        }
        Guard::ConnectorUnchanged(id, updated) => present(
            Rows::of("connector")
                .is("id", id.to_string())
                .is("updated", updated.unix_ms()),
        ),

        Guard::AccountPresent(id) => present(Rows::of("account").is("id", id.to_string())),
        Guard::AccountAbsent(id) => absent(Rows::of("account").is("id", id.to_string())),
        Guard::NoAccounts => absent(Rows::of("account")),
        Guard::AccessKeyPresent(id) => present(Rows::of("access_key").is("id", id.as_str())),
        Guard::AccessKeysBelow(account, max) => fewer(
            Rows::of("access_key").is("account", account.to_string()),
            *max,
        ),
        Guard::RolePresent(account, name) => present(role("role", "name", *account, name)),
        Guard::RoleAbsent(account, name) => absent(role("role", "name", *account, name)),
        Guard::RolesBelow(account, max) => {
            fewer(Rows::of("role").is("account", account.to_string()), *max)
        }
        Guard::RolePoliciesBelow(account, name, max) => {
            let policies =
                ["role_policy", "role_attachment"].map(|table| role(table, "role", *account, name));
            vec![Expect::Fewer(policies.into(), *max as usize)]
        }
        Guard::RoleUnattached(account, name) => {
            absent(role("role_attachment", "role", *account, name))
        }
        Guard::AttachmentFits {
            account,
            role: name,
            policy_arn,
            max,
        } => {
            let attached = role("role_attachment", "role", *account, name);
            let others = Test::NoneOf(vec![policy_arn.clone()]);
            fewer(attached.test("policy_arn", others), *max)
        }

        Guard::PolicyPresent(arn) => present(Rows::of("policy").is("arn", arn.to_string())),
        Guard::PolicyNameFree(account, name) => absent(
            Rows::of("policy")
                .is("account", account.to_string())
                .is("name", name.as_str()),
        ),
        Guard::PoliciesBelow(account, max) => {
            fewer(Rows::of("policy").is("account", account.to_string()), *max)
        }
        Guard::PolicyUnattached(arn) => absent(
            Rows::of("role_attachment")
                .is("account", arn.account.to_string())
                .is("policy_arn", arn.to_string()),
        ),
        Guard::PolicyVersionPresent(arn, number) => present(versions(arn).is("number", *number)),
        Guard::PolicyVersionsBelow(arn, max) => fewer(versions(arn), *max),
    }
}

/// The rows of the versions of a managed policy.
fn versions(arn: &PolicyArn) -> Rows {
    Rows::of("policy_version").is("policy", arn.to_string())
}

/// The rows of a role. `column` holds the role's name.
fn role(table: &'static str, column: &'static str, account: AccountId, name: &RoleName) -> Rows {
    Rows::of(table)
        .is("account", account.to_string())
        .is(column, name.as_str())
}
