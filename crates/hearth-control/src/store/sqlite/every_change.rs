//! Every change and every guard on the file of the current release ([`super::golden`]).
//!
//! `goldens/changed.sql` and `goldens/removed.sql` are the rows that the changes leave.

use super::golden::{
    NEWEST, account, assert_same, at, builds, connector_id, connector_versions, connectors,
    image_arn, images, managed_versions, microvm_id, open, policy_arn, role, text, token_key,
    version_number, versions,
};
use super::*;
use crate::account::KeyStatus;
use crate::arn::ConnectorArn;
use crate::connector::{ConnectorFault, UpdateStatus};
use crate::host::{SnapshotRef, Template};
use crate::image::{BuildState, ImageState, VersionState, VersionStatus};
use crate::life::{Life, Phase};
use crate::managed_policy::ManagedPolicy;
use crate::microvm::Activity;
use crate::request::ClientToken;
use crate::store::{Change, Guard, IntentSubject};

/// The rows of a text.
fn rows(text: &str) -> String {
    let rows = text.lines().filter(|line| line.starts_with("INSERT"));
    rows.map(|row| format!("{row}\n")).collect()
}

async fn commit(store: &SqliteStore, changes: impl IntoIterator<Item = Change>) {
    let batch = changes.into_iter().fold(Batch::new(), Batch::change);
    assert_eq!(store.commit(batch).await.unwrap(), Verdict::Committed);
}

/// Records that exist, written again with other values in every column that can have one.
fn puts() -> Vec<Change> {
    let role = Role {
        path: "/other/".to_owned(),
        role_id: "AROAOTHER".to_owned(),
        trust_policy: "{}".to_owned(),
        max_session_s: 7200,
        tags: Tags::from([("new".to_owned(), "tag".to_owned())]),
        created_at: at(900),
        ..role("app", None)
    };
    let policy = RolePolicy {
        name: "logs".to_owned(),
        document: "{}".to_owned(),
    };
    let image = Image {
        id: "00000000-0000-3000-8000-000000000999".parse().unwrap(),
        state: ImageState::UpdateFailed,
        latest_active_version: None,
        latest_failed_version: Some(version_number(3)),
        last_version: version_number(3),
        created_at: at(901),
        updated_at: at(902),
        ..images().remove(0)
    };
    let version = ImageVersion {
        state: VersionState::Deleting,
        status: VersionStatus::Inactive,
        spec: versions().remove(0).spec,
        template: Some(Template {
            snapshot: SnapshotRef("snapshot-2".to_owned()),
            tier: versions().remove(0).spec.tier,
        }),
        created_at: at(903),
        updated_at: at(904),
        ..versions().remove(1)
    };
    let build = Build {
        state: BuildState::Failed,
        chipset_generation: "generation-2".to_owned(),
        reason: Some("late".to_owned()),
        attempts: 2,
        created_at: at(905),
        sizes: builds().remove(1).sizes,
        ..builds().remove(0)
    };
    let connector = Connector {
        name: "renamed".parse().unwrap(),
        state: ConnectorState::Deleting,
        reason: Some("going".to_owned()),
        fault: Some(ConnectorFault::InternalError),
        operator_role: "arn:aws:iam::000000000007:role/y".to_owned(),
        latest_version: 2,
        last_version: 3,
        update_status: Some(UpdateStatus::InProgress),
        update_reason: None,
        update_fault: None,
        created_at: at(906),
        updated_at: at(907),
        ..connectors().remove(0)
    };
    let connector_version = ConnectorVersion {
        egress: connector_versions().remove(0).egress,
        operator_role: "arn:aws:iam::000000000007:role/y".to_owned(),
        state: ConnectorState::DeleteFailed,
        reason: Some("stuck".to_owned()),
        fault: Some(ConnectorFault::InternalError),
        updated_at: at(908),
        ..connector_versions().remove(1)
    };
    let managed = ManagedPolicy {
        arn: policy_arn("kept"),
        policy_id: "ANPAOTHER".to_owned(),
        description: None,
        default_version: 3,
        last_version: 3,
        tags: Tags::new(),
        created_at: at(912),
        updated_at: at(913),
    };
    let added = PolicyVersion {
        number: 3,
        document: "{}".to_owned(),
        created_at: at(913),
    };
    let tagged = TaggedArn::Image(image_arn());
    let tags = [("team", "others"), ("new", "tag")];
    let tags = tags.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let role_name = role.name.clone();
    let attached = "arn:aws:iam::aws:policy/X".to_owned();
    vec![
        Change::PutRole(role),
        Change::PutRolePolicy(account(), role_name.clone(), policy),
        Change::AttachRolePolicy(account(), role_name, attached),
        Change::AddPolicyVersion(managed.arn.clone(), added),
        Change::PutPolicy(managed),
        Change::PutImage(image),
        Change::PutVersion(Box::new(version)),
        Change::PutBuild(build),
        Change::PutConnector(connector),
        Change::PutConnectorVersion(connector_version),
        Change::PutTags(tagged, tags.into()),
        Change::NameAccount(account(), "the seventh".parse().unwrap()),
    ]
}

/// One change of each kind that changes or ends something.
fn moves() -> Vec<Change> {
    let life = Life {
        phase: Phase::Suspended { since: at(20) },
        wish: None,
        reason: None,
    };
    let activity = Activity {
        execs: true,
        guest_cpu: true,
    };
    let open = IntentSubject::Microvm(microvm_id(0));
    let key = "AKIAAAAAAAAAAAAAAAAA".parse().unwrap();
    vec![
        Change::MoveMicrovm {
            id: microvm_id(4),
            from_generation: 1,
            life,
            terminated_at: Some(at(910)),
        },
        Change::SetActivity(microvm_id(4), activity),
        Change::SetAccessKey(key, KeyStatus::Disabled),
        Change::Conclude(open, "done".to_owned(), at(911)),
        // Of intents that ended at this moment none goes.
        Change::ForgetIntents(at(50)),
        // Nor does a token of this moment.
        Change::ForgetTokens(at(5)),
    ]
}

/// One of each kind that removes something.
fn removals() -> Vec<Change> {
    let app = || role("app", None).name;
    vec![
        Change::RemoveVersion(image_arn(), version_number(2)),
        Change::RemoveTags(
            TaggedArn::Image(image_arn()),
            vec!["new".to_owned(), "none".to_owned()],
        ),
        Change::RemoveConnectorVersion(connector_id(1), 2),
        Change::RemoveConnector(connectors().remove(1)),
        Change::RemoveAccessKey("AKIABBBBBBBBBBBBBBBB".parse().unwrap()),
        Change::RemoveRole(account(), role("bare", None).name),
        Change::RemoveRolePolicy(account(), app(), "logs".to_owned()),
        Change::DetachRolePolicy(account(), app(), "arn:aws:iam::aws:policy/X".to_owned()),
        Change::RemovePolicyVersion(policy_arn("kept"), 2),
        Change::RemovePolicy(policy_arn("spare")),
        // With its client token.
        Change::RemoveMicrovm(microvm_id(0)),
    ]
}

#[tokio::test]
async fn changes_leave_these_rows() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory, NEWEST);
    commit(&store, puts()).await;
    commit(&store, moves()).await;
    drop(store);
    assert_same(
        &rows(&text(&directory)),
        include_str!("goldens/changed.sql"),
    );
}

#[tokio::test]
async fn removals_leave_these_rows() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory, NEWEST);
    commit(&store, removals()).await;
    drop(store);
    assert_same(
        &rows(&text(&directory)),
        include_str!("goldens/removed.sql"),
    );
}

/// Its versions, builds, tags and client tokens go with an image, and those of others stay.
#[tokio::test]
async fn an_image_is_removed_with_all_that_is_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory, NEWEST);
    let resource = image_arn().to_string();
    let key = TokenKey {
        token: ClientToken("token-2".to_owned()),
        ..token_key()
    };
    let token_use = TokenUse {
        digest: [1; 32],
        resource,
        at: at(1),
    };
    commit(&store, [Change::UseToken(key, token_use)]).await;
    commit(&store, [Change::RemoveImage(image_arn())]).await;
    drop(store);
    let tables = ["image ", "version ", "build ", "tag ", "client_token "];
    let is_of_images = |row: &&str| tables.iter().any(|table| row[12..].starts_with(table));
    let left = rows(&text(&directory));
    let left: Vec<_> = left.lines().filter(is_of_images).collect();
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(left[0].contains("microvm-image:new"), "{left:?}");
    assert!(left[1].contains("'token-1'"), "{left:?}");
}

/// Every guard, with arguments with which it holds and with ones with which it does not.
fn guards() -> Vec<(Guard, bool)> {
    let scope = || image_arn().scope;
    let other_scope = || Scope {
        region: "eu-1".parse().unwrap(),
        ..scope()
    };
    let other_image = || ImageArn {
        name: "other".parse().unwrap(),
        ..image_arn()
    };
    let other_account = AccountId::from_number(8).unwrap();
    let connector = |scope, number| {
        TaggedArn::Connector(ConnectorArn {
            scope,
            id: connector_id(number),
            version: None,
        })
    };
    let tags = |keys: &[&str], max| Guard::TagsFit {
        resource: TaggedArn::Image(image_arn()),
        keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        max,
    };
    let other_token = TokenKey {
        operation: "ForkMicrovm",
        ..token_key()
    };
    let app = || role("app", None).name;
    let none = || role("none", None).name;
    let bare = || role("bare", None).name;
    let attachment = |policy_arn: &str, max| Guard::AttachmentFits {
        account: account(),
        role: app(),
        policy_arn: policy_arn.to_owned(),
        max,
    };
    let (first, second) = (version_number(1), version_number(2));
    let office = || "office".parse().unwrap();
    let terminated = microvm_id(11);
    vec![
        (Guard::TokenFree(token_key()), false),
        (Guard::TokenFree(other_token), true),
        (Guard::ImageAbsent(image_arn()), false),
        (Guard::ImageAbsent(other_image()), true),
        (Guard::ImagesBelow(scope(), 2), false),
        (Guard::ImagesBelow(scope(), 3), true),
        (Guard::ImagesBelow(other_scope(), 1), true),
        (Guard::OpenBuildsBelow(scope(), 0), false),
        (Guard::OpenBuildsBelow(scope(), 1), true),
        (Guard::NoLivingMicrovms(image_arn(), None), false),
        (Guard::NoLivingMicrovms(image_arn(), Some(first)), false),
        (Guard::NoLivingMicrovms(image_arn(), Some(second)), true),
        (Guard::NoLivingMicrovms(other_image(), None), true),
        (Guard::MicrovmLiving(microvm_id(0)), true),
        (Guard::MicrovmLiving(terminated), false),
        (Guard::MicrovmLiving(microvm_id(99)), false),
        (Guard::Launchable(image_arn(), first), true),
        (Guard::Launchable(image_arn(), second), false),
        (Guard::Launchable(other_image(), first), false),
        (Guard::TaggedPresent(TaggedArn::Image(image_arn())), true),
        (Guard::TaggedPresent(TaggedArn::Image(other_image())), false),
        (Guard::TaggedPresent(connector(scope(), 1)), true),
        (Guard::TaggedPresent(connector(other_scope(), 1)), false),
        (Guard::TaggedPresent(connector(scope(), 9)), false),
        (tags(&["team"], 1), true),
        (tags(&["team", "b"], 1), false),
        (tags(&["b"], 1), false),
        (tags(&["b", "c"], 3), true),
        (tags(&["b", "c"], 2), false),
        (tags(&["a", "b", "c", "d"], 2), false),
        (Guard::ConnectorNameFree(scope(), office()), false),
        (Guard::ConnectorNameFree(other_scope(), office()), true),
        (Guard::ConnectorsBelow(scope(), 2), false),
        (Guard::ConnectorsBelow(scope(), 3), true),
        (Guard::ConnectorActive(connector_id(1)), true),
        (Guard::ConnectorActive(connector_id(2)), false),
        (Guard::ConnectorActive(connector_id(9)), false),
        (Guard::ConnectorUnused(connector_id(1)), true),
        (Guard::ConnectorUnchanged(connector_id(1), at(31)), true),
        (Guard::ConnectorUnchanged(connector_id(1), at(30)), false),
        (Guard::AccountPresent(account()), true),
        (Guard::AccountPresent(other_account), false),
        (Guard::AccountAbsent(account()), false),
        (Guard::AccountAbsent(other_account), true),
        (Guard::NoAccounts, false),
        (Guard::AccessKeyPresent(key("AKIAAAAAAAAAAAAAAAAA")), true),
        (Guard::AccessKeyPresent(key("AKIANONE")), false),
        (Guard::AccessKeysBelow(account(), 2), false),
        (Guard::AccessKeysBelow(account(), 3), true),
        (Guard::RolePresent(account(), app()), true),
        (Guard::RolePresent(account(), none()), false),
        (Guard::RoleAbsent(account(), app()), false),
        (Guard::RoleAbsent(other_account, app()), true),
        (Guard::RolesBelow(account(), 2), false),
        (Guard::RolesBelow(account(), 3), true),
        (Guard::RolePoliciesBelow(account(), app(), 3), false),
        (Guard::RolePoliciesBelow(account(), app(), 4), true),
        (Guard::RoleUnattached(account(), app()), false),
        (Guard::RoleUnattached(account(), bare()), true),
        (attachment("arn:aws:iam::aws:policy/Y", 2), false),
        (attachment("arn:aws:iam::aws:policy/Y", 3), true),
        (attachment("arn:aws:iam::aws:policy/X", 2), true),
        (Guard::PolicyPresent(policy_arn("kept")), true),
        (Guard::PolicyPresent(policy_arn("none")), false),
        (
            Guard::PolicyNameFree(account(), policy_arn("kept").name),
            false,
        ),
        (
            Guard::PolicyNameFree(other_account, policy_arn("kept").name),
            true,
        ),
        (Guard::PoliciesBelow(account(), 2), false),
        (Guard::PoliciesBelow(account(), 3), true),
        (Guard::PolicyUnattached(policy_arn("kept")), false),
        (Guard::PolicyUnattached(policy_arn("spare")), true),
        (Guard::PolicyVersionPresent(policy_arn("kept"), 2), true),
        (Guard::PolicyVersionPresent(policy_arn("kept"), 3), false),
        (Guard::PolicyVersionsBelow(policy_arn("kept"), 2), false),
        (Guard::PolicyVersionsBelow(policy_arn("kept"), 3), true),
    ]
}

fn key(id: &str) -> AccessKeyId {
    id.parse().unwrap()
}

#[tokio::test]
async fn guards_hold_or_block() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory, NEWEST);
    for (guard, holds) in guards() {
        let verdict = store.commit(Batch::new().guard(guard.clone())).await;
        let expected = match holds {
            true => Verdict::Committed,
            false => Verdict::Blocked(guard),
        };
        assert_eq!(verdict.unwrap(), expected);
    }
}

/// The versions go with a managed policy, and those of others stay. What is attached gives the document in force.
#[tokio::test]
async fn a_managed_policy_is_removed_with_its_versions() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory, NEWEST);
    let (kept, app) = (policy_arn("kept"), role("app", None).name);
    let in_force = managed_versions().remove(1).document;
    let documents = store.attached_documents(account(), &app).await.unwrap();
    assert_eq!(documents, [in_force]);
    let roles = store.policy_roles(&kept, "/service/", None, 9).await;
    assert_eq!(roles.unwrap(), [role("app", Some("it's ours"))]);
    for (path, after) in [("/other/", None), ("", Some("app"))] {
        let none = store.policy_roles(&kept, path, after, 9).await.unwrap();
        assert_eq!(none, [], "{path} {after:?}");
    }
    commit(&store, [Change::RemovePolicy(kept.clone())]).await;
    assert_eq!(store.policy(&kept).await.unwrap(), None);
    assert_eq!(store.policy_versions(&kept).await.unwrap(), []);
    // The attachment of a policy that is gone gives nothing.
    let documents = store.attached_documents(account(), &app).await.unwrap();
    assert_eq!(documents, Vec::<String>::new());
}

#[tokio::test]
async fn policies_and_roles_are_listed_by_path() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory, NEWEST);
    let listed = async |path: &str, only_attached| {
        let path_prefix = path.to_owned();
        let filter = PolicyFilter {
            path_prefix,
            only_attached,
        };
        let found = store.policies(account(), &filter, None, 9).await.unwrap();
        let names = found.into_iter().map(|found| found.policy.arn.name);
        names.map(|name| name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(listed("/service/", false).await, ["kept", "spare"]);
    assert_eq!(listed("/", true).await, ["kept"]);
    assert_eq!(listed("/other/", false).await, [""; 0]);
    for (path, count) in [("", 2), ("/service/", 2), ("/serv", 2), ("/other/", 0)] {
        let roles = store.roles(account(), path, None, 9).await.unwrap();
        assert_eq!(roles.len(), count, "{path}");
    }
}

/// Whether a connector is named by what runs, by what may be launched, or by what has ended or failed alone.
#[tokio::test]
async fn a_connector_is_used_by_what_names_it() {
    let unused = || Guard::ConnectorUnused(connector_id(1));
    let text = connector_id(1).to_string();
    for (table, column, row, is_used) in [
        ("microvm", "terms", "id LIKE '%02'", true),
        ("microvm", "terms", "id LIKE '%11'", false),
        ("version", "spec", "number = 1", true),
        ("version", "spec", "number = 2", false),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let naming =
            format!("{NEWEST}UPDATE {table} SET {column} = {column} || '{text}' WHERE {row};");
        let store = open(&directory, &naming);
        let verdict = store.commit(Batch::new().guard(unused())).await.unwrap();
        let is_blocked = verdict == Verdict::Blocked(unused());
        assert_eq!(is_blocked, is_used, "{table} {row}");
    }
}
