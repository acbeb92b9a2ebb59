//! Managed policies with their versions and attachments, and tags of roles.

use hearth_control::account::CreateRole;
use hearth_control::id::AccountId;
use hearth_control::image::Tags;
use hearth_control::managed_policy::{
    CreatePolicy, MAX_ATTACHED_POLICIES, PolicyArn, PolicyFilter, PolicyRefusal,
};
use hearth_control::page::PageRequest;
use hearth_control::{Control, Refusal};

use crate::support::{World, refusal};

const ACCOUNT: AccountId = AccountId::FIRST;

fn arn(name: &str) -> PolicyArn {
    let arn = format!("arn:aws:iam::{ACCOUNT}:policy/{name}");
    arn.parse().unwrap()
}

fn refused(name: &str, why: PolicyRefusal) -> Refusal {
    let arn = arn(name).to_string();
    Refusal::ManagedPolicy { arn, why }
}

fn tags(pairs: &[(&str, &str)]) -> Tags {
    let pairs = pairs.iter();
    pairs
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

async fn make(control: &Control, name: &str) {
    let request = CreatePolicy {
        arn: arn(name),
        description: None,
        document: format!("{name} 1"),
        tags: Tags::new(),
    };
    control.create_policy(request).await.unwrap();
}

async fn make_role(control: &Control, name: &str, tags: Tags) {
    let request = CreateRole {
        name: name.parse().unwrap(),
        path: "/".to_owned(),
        description: None,
        trust_policy: "{}".to_owned(),
        max_session_s: 3600,
        tags,
    };
    control.create_role(ACCOUNT, request).await.unwrap();
}

#[tokio::test]
async fn versions_are_numbered_once_and_one_is_in_force() {
    let world = World::new();
    let control = world.start().await;
    make(&control, "p").await;
    let p = arn("p");
    let add = async |text: &str, in_force| {
        let added = control.create_policy_version(ACCOUNT, &p, text.to_owned(), in_force);
        added.await.map(|version| version.number)
    };
    let in_force = async || {
        let found = control.policy(ACCOUNT, &p).await.unwrap();
        found.policy.default_version
    };
    assert_eq!(add("2", true).await.unwrap(), 2);
    assert_eq!(add("3", false).await.unwrap(), 3);
    assert_eq!(in_force().await, 2);
    for number in [4, 5] {
        assert_eq!(add("more", false).await.unwrap(), number);
    }
    let full = refused("p", PolicyRefusal::VersionQuota);
    assert_eq!(refusal(add("6", false).await), full);
    let delete = async |number| control.delete_policy_version(ACCOUNT, &p, number).await;
    let default = refused("p", PolicyRefusal::DefaultVersion);
    assert_eq!(refusal(delete(2).await), default);
    let absent = refused("p", PolicyRefusal::VersionNotFound(9));
    assert_eq!(refusal(delete(9).await), absent);
    delete(5).await.unwrap();
    // The number of a version that is gone is not given again.
    assert_eq!(add("6", false).await.unwrap(), 6);
    let set = control.set_default_policy_version(ACCOUNT, &p, 9);
    assert_eq!(refusal(set.await), absent);
    let set = control.set_default_policy_version(ACCOUNT, &p, 6);
    set.await.unwrap();
    assert_eq!(in_force().await, 6);
    let versions = control.policy_versions(ACCOUNT, &arn("p")).await.unwrap();
    let numbers: Vec<_> = versions.iter().map(|version| version.number).collect();
    assert_eq!(numbers, [6, 4, 3, 2, 1]);
    let more = refused("p", PolicyRefusal::HasVersions);
    let deleted = control.delete_policy(ACCOUNT, &arn("p")).await;
    assert_eq!(refusal(deleted), more);
}

#[tokio::test]
async fn policies_are_attached_to_roles_of_their_account() {
    let world = World::new();
    let control = world.start().await;
    make_role(&control, "app", Tags::new()).await;
    let role = "app".parse().unwrap();
    let attach = async |arn: String| control.attach_role_policy(ACCOUNT, &role, &arn).await;
    let none = refused("p", PolicyRefusal::NotAttachable);
    assert_eq!(refusal(attach(arn("p").to_string()).await), none);
    make(&control, "p").await;
    attach(arn("p").to_string()).await.unwrap();
    let documents = control.attached_documents(ACCOUNT, &role).await.unwrap();
    assert_eq!(documents, ["p 1"]);
    let found = control.policy(ACCOUNT, &arn("p")).await.unwrap();
    assert_eq!(found.attachments, 1);
    let attached = refused("p", PolicyRefusal::Attached);
    let deleted = control.delete_policy(ACCOUNT, &arn("p")).await;
    assert_eq!(refusal(deleted), attached);

    // A policy of another account is not there.
    let other = AccountId::from_number(7).unwrap();
    let absent = refused("p", PolicyRefusal::NotFound);
    assert_eq!(refusal(control.policy(other, &arn("p")).await), absent);
    let deleted = control.delete_policy(other, &arn("p")).await;
    assert_eq!(refusal(deleted), absent);

    // Those of AWS count, and one that is attached already is no further one.
    for number in 1..MAX_ATTACHED_POLICIES {
        attach(format!("arn:aws:iam::aws:policy/{number}"))
            .await
            .unwrap();
    }
    let max = MAX_ATTACHED_POLICIES;
    let full = attach("arn:aws:iam::aws:policy/X".to_owned()).await;
    assert_eq!(refusal(full), Refusal::RolePolicyQuota { max });
    attach(arn("p").to_string()).await.unwrap();

    let attached = arn("p").to_string();
    let detached = control.detach_role_policy(ACCOUNT, &role, &attached).await;
    detached.unwrap();
    control.delete_policy(ACCOUNT, &arn("p")).await.unwrap();
    assert_eq!(refusal(control.policy(ACCOUNT, &arn("p")).await), absent);
}

#[tokio::test]
async fn policies_are_listed_in_pages_and_named_once() {
    let world = World::new();
    let control = world.start().await;
    for name in ["a", "b", "c"] {
        make(&control, name).await;
    }
    let twin = CreatePolicy {
        arn: arn("another/path/a"),
        description: None,
        document: String::new(),
        tags: Tags::new(),
    };
    let twin = control.create_policy(twin).await;
    let exists = refused("another/path/a", PolicyRefusal::Exists);
    assert_eq!(refusal(twin), exists);
    let filter = PolicyFilter::default();
    let (mut page, mut names) = (PageRequest::first(2), Vec::new());
    loop {
        let found = control.policies(ACCOUNT, &filter, page).await.unwrap();
        let items = found.items.into_iter();
        names.extend(items.map(|found| found.policy.arn.name.to_string()));
        if found.next.is_none() {
            break;
        }
        page = PageRequest {
            limit: 2,
            after: found.next,
        };
    }
    assert_eq!(names, ["a", "b", "c"]);
}

/// As on AWS: keys of roles' tags differ by more than case, those of policies may not.
#[tokio::test]
async fn tags_are_bounded_and_replaced() {
    let mut world = World::new();
    world.policy.quotas.tags_per_resource = 2;
    let control = world.start().await;
    make_role(&control, "app", tags(&[("Team", "a"), ("x", "")])).await;
    let role = "app".parse().unwrap();
    let of_role = async || control.role(ACCOUNT, &role).await.unwrap().tags;
    let tagged = control.tag_role(ACCOUNT, &role, tags(&[("team", "b")]));
    tagged.await.unwrap();
    assert_eq!(of_role().await, tags(&[("team", "b"), ("x", "")]));
    let full = control.tag_role(ACCOUNT, &role, tags(&[("y", "")])).await;
    assert_eq!(refusal(full), Refusal::TagQuota { max: 2 });
    let gone = ["TEAM".to_owned(), "none".to_owned()];
    control.untag_role(ACCOUNT, &role, &gone).await.unwrap();
    assert_eq!(of_role().await, tags(&[("x", "")]));

    make(&control, "p").await;
    let p = arn("p");
    let both = tags(&[("A", "1"), ("a", "2")]);
    let tagged = control.tag_policy(ACCOUNT, &p, both.clone());
    tagged.await.unwrap();
    let of_policy = async || {
        control
            .policy(ACCOUNT, &arn("p"))
            .await
            .unwrap()
            .policy
            .tags
    };
    assert_eq!(of_policy().await, both);
    let full = control.tag_policy(ACCOUNT, &p, tags(&[("b", "")]));
    assert_eq!(refusal(full.await), Refusal::TagQuota { max: 2 });
    let gone = ["A".to_owned()];
    control.untag_policy(ACCOUNT, &p, &gone).await.unwrap();
    assert_eq!(of_policy().await, tags(&[("a", "2")]));
}

#[tokio::test]
async fn a_role_is_described_and_its_sessions_are_bounded() {
    let world = World::new();
    let control = world.start().await;
    make_role(&control, "app", tags(&[("a", "b")])).await;
    let role = "app".parse().unwrap();
    let described = control.set_role_description(ACCOUNT, &role, Some("new".to_owned()));
    described.await.unwrap();
    let set = control.set_role_session(ACCOUNT, &role, 7200).await;
    let edited = set.unwrap();
    assert_eq!(edited, control.role(ACCOUNT, &role).await.unwrap());
    assert_eq!(edited.description.as_deref(), Some("new"));
    assert_eq!(
        (edited.max_session_s, edited.tags),
        (7200, tags(&[("a", "b")]))
    );
}
