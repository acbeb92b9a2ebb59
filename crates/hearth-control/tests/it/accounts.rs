//! Accounts, access keys and roles.

use hearth_control::Refusal;
use hearth_control::account::{AccountName, CreateAccount, CreateRole, KeyStatus, RolePolicy};
use hearth_control::id::AccountId;
use hearth_control::image::Tags;
use hearth_control::managed_policy::PolicyRefusal;
use hearth_control::page::PageRequest;

use crate::support::{World, refusal};

#[tokio::test]
async fn the_first_start_makes_one_account_with_one_key() {
    let world = World::new();
    let control = world.start().await;
    let keys = control.access_keys(AccountId::FIRST).await.unwrap();
    assert_eq!(
        (control.accounts().await.unwrap().len(), keys.len()),
        (1, 1)
    );
    assert_eq!(keys[0].secret.reveal().len(), 40);
    assert!(!format!("{:?}", keys[0]).contains(keys[0].secret.reveal()));
    control.stop().await;
    let control = world.start().await;
    assert_eq!(control.access_keys(AccountId::FIRST).await.unwrap(), keys);
}

#[tokio::test]
async fn keys_are_made_disabled_and_deleted() {
    let mut world = World::new();
    world.policy.quotas.access_keys = 2;
    let control = world.start().await;
    let other = AccountId::from_number(7).unwrap();
    let unknown = control.create_access_key(other).await;
    assert_eq!(refusal(unknown), Refusal::AccountNotFound(other));
    control.create_account(other).await.unwrap();
    assert_eq!(
        refusal(control.create_account(other).await),
        Refusal::AccountExists(other)
    );
    let key = control.create_access_key(other).await.unwrap();
    control.create_access_key(other).await.unwrap();
    let full = control.create_access_key(other).await;
    assert_eq!(refusal(full), Refusal::AccessKeyQuota { max: 2 });
    control
        .set_access_key_status(&key.id, KeyStatus::Disabled)
        .await
        .unwrap();
    let found = control.access_key(&key.id).await.unwrap().unwrap();
    assert_eq!((found.status, found.account), (KeyStatus::Disabled, other));
    control.delete_access_key(&key.id).await.unwrap();
    assert_eq!(control.access_key(&key.id).await.unwrap(), None);
    assert_eq!(
        refusal(control.delete_access_key(&key.id).await),
        Refusal::AccessKeyNotFound
    );
}

#[tokio::test]
async fn roles_keep_their_documents() {
    let world = World::new();
    let control = world.start().await;
    let account = AccountId::FIRST;
    let request = |name: &str| CreateRole {
        name: name.parse().unwrap(),
        path: "/".to_owned(),
        description: None,
        trust_policy: "{}".to_owned(),
        max_session_s: 3600,
        tags: Tags::new(),
    };
    let role = control
        .create_role(account, request("build"))
        .await
        .unwrap();
    control.create_role(account, request("run")).await.unwrap();
    let twin = control.create_role(account, request("build")).await;
    assert_eq!(refusal(twin), Refusal::RoleExists(role.name.clone()));
    let page = control.roles(account, "", PageRequest::first(1)).await;
    let page = page.unwrap();
    assert_eq!((page.items.len(), page.next.is_some()), (1, true));

    let policy = RolePolicy {
        name: "logs".to_owned(),
        document: "{\"a\":1}".to_owned(),
    };
    control
        .put_role_policy(account, &role.name, policy.clone())
        .await
        .unwrap();
    assert_eq!(
        control
            .role_policy(account, &role.name, "logs")
            .await
            .unwrap(),
        policy
    );
    control
        .attach_role_policy(account, &role.name, "arn:aws:iam::aws:policy/X")
        .await
        .unwrap();
    let full = control.delete_role(account, &role.name).await;
    assert_eq!(refusal(full), Refusal::RoleAttached(role.name.clone()));
    control
        .detach_role_policy(account, &role.name, "arn:aws:iam::aws:policy/X")
        .await
        .unwrap();
    let full = control.delete_role(account, &role.name).await;
    assert_eq!(refusal(full), Refusal::RoleNotEmpty(role.name.clone()));
    control
        .delete_role_policy(account, &role.name, "logs")
        .await
        .unwrap();
    let again = control
        .delete_role_policy(account, &role.name, "logs")
        .await;
    let missing = Refusal::RolePolicyNotFound(role.name.clone(), "logs".to_owned());
    assert_eq!(refusal(again), missing);
    let arn = "arn:aws:iam::aws:policy/X";
    let again = control.detach_role_policy(account, &role.name, arn).await;
    let missing = Refusal::ManagedPolicy {
        arn: arn.to_owned(),
        why: PolicyRefusal::NotFound,
    };
    assert_eq!(refusal(again), missing);
    control.delete_role(account, &role.name).await.unwrap();
    assert_eq!(
        refusal(control.role(account, &role.name).await),
        Refusal::RoleNotFound(role.name)
    );
}

#[tokio::test]
async fn accounts_have_names_that_outlive_a_restart() {
    let world = World::new();
    let control = world.start().await;
    let named = CreateAccount {
        id: None,
        name: Some("team a".parse().unwrap()),
    };
    let made = control.create_account(named).await.unwrap();
    assert_ne!(made.id, AccountId::FIRST);
    control.stop().await;
    let control = world.start().await;
    let names = control.account_names().await.unwrap();
    assert_eq!(
        names.into_iter().collect::<Vec<_>>(),
        [(made.id, "team a".to_owned())]
    );
    for wrong in ["", "tab\there", "ü", &"x".repeat(51)] {
        assert!(wrong.parse::<AccountName>().is_err(), "{wrong:?}");
    }
}
