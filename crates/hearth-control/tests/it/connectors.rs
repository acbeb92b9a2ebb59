//! Network connectors.

use hearth_control::arn::{ConnectorRef, Scope};
use hearth_control::connector::{
    ComputeKind, ConnectorFault, ConnectorKey, ConnectorState, ConnectorWithVersion,
    CreateConnector, NetworkProtocol, UpdateConnector, UpdateStatus, VpcEgress,
};
use hearth_control::image::Tags;
use hearth_control::microvm::RunMicrovm;
use hearth_control::page::PageRequest;
use hearth_control::{Control, Refusal};

use crate::support::{World, refusal, scope, spec, terminated_reason, token};

fn egress(subnet: &str) -> VpcEgress {
    VpcEgress {
        subnet_ids: vec![subnet.to_owned()],
        security_group_ids: Some(vec!["sg-a".to_owned()]),
        protocol: NetworkProtocol::Ipv4,
        compute: ComputeKind::Microvm,
        elastic_ip: None,
    }
}

fn create(name: &str, subnet: &str) -> CreateConnector {
    CreateConnector {
        name: name.parse().unwrap(),
        egress: egress(subnet),
        operator_role: "arn:aws:iam::000000000000:role/operator".to_owned(),
        tags: Tags::new(),
        client_token: token(&format!("token of {name}"), subnet),
    }
}

async fn settled(control: &Control, key: &ConnectorKey) -> ConnectorWithVersion {
    settled_in(&scope(), control, key).await
}

async fn settled_in(scope: &Scope, control: &Control, key: &ConnectorKey) -> ConnectorWithVersion {
    loop {
        let found = control.connector(scope, key).await.unwrap();
        let connector = &found.connector;
        let is_checked = connector.state != ConnectorState::Pending
            && connector.update_status != Some(UpdateStatus::InProgress);
        if is_checked {
            return found;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_connector_is_checked_updated_used_and_deleted() {
    let world = World::new();
    let control = world.start().await;
    let made = control
        .create_connector(&scope(), create("out", "subnet-a"))
        .await
        .unwrap();
    assert_eq!(made.connector.state, ConnectorState::Pending);
    let again = control
        .create_connector(&scope(), create("out", "subnet-a"))
        .await
        .unwrap();
    assert_eq!(again.connector.id, made.connector.id);
    let key = ConnectorKey::Name("out".parse().unwrap());
    assert_eq!(
        settled(&control, &key).await.connector.state,
        ConnectorState::Active
    );

    let update = |subnet: &str| UpdateConnector {
        key: key.clone(),
        egress: Some(egress(subnet)),
        operator_role: None,
        client_token: None,
    };
    let same = control
        .update_connector(&scope(), update("subnet-a"))
        .await
        .unwrap();
    let reason = same.connector.update_reason.as_deref();
    assert_eq!(
        (same.version.number, reason),
        (1, Some("No configuration changes detected"))
    );
    let worse = control
        .update_connector(&scope(), update("subnet-zz"))
        .await
        .unwrap();
    assert_eq!(worse.version.number, 2);
    let found = settled(&control, &key).await.connector;
    assert_eq!(
        (found.state, found.latest_version),
        (ConnectorState::Active, 1)
    );
    assert_eq!(found.update_fault, Some(ConnectorFault::InvalidSubnet));
    let page = PageRequest::first(10);
    let versions = control
        .connector_versions(&scope(), &key, None, page)
        .await
        .unwrap()
        .items;
    assert_eq!(
        versions
            .iter()
            .map(|version| version.number)
            .collect::<Vec<_>>(),
        [2, 1]
    );

    let image = world.image(&control, spec(false)).await;
    let egress = vec![ConnectorRef::Own(found.arn())];
    let id = world
        .running(
            &control,
            RunMicrovm {
                egress,
                ..world.run(&image)
            },
        )
        .await;
    let used = control.delete_connector(&scope(), &key).await;
    assert_eq!(refusal(used), Refusal::ConnectorInUse(key.clone()));
    control.terminate_microvm(&scope(), id).await.unwrap();
    terminated_reason(&control, id).await;
    let deleted = control.delete_connector(&scope(), &key).await.unwrap();
    assert_eq!(deleted.connector.state, ConnectorState::Deleting);
    while control.connector(&scope(), &key).await.is_ok() {
        tokio::task::yield_now().await;
    }
    // The name and the token are free again.
    let fresh = control
        .create_connector(&scope(), create("out", "subnet-a"))
        .await
        .unwrap();
    assert_ne!(fresh.connector.id, made.connector.id);
}

#[tokio::test]
async fn what_the_operator_did_not_define_fails_with_a_code() {
    let world = World::new();
    let control = world.start().await;
    let made = control
        .create_connector(&scope(), create("out", "subnet-zz"))
        .await
        .unwrap();
    let key = ConnectorKey::Id(made.connector.id);
    let found = settled(&control, &key).await.connector;
    assert_eq!(
        (found.state, found.fault),
        (ConnectorState::Failed, Some(ConnectorFault::InvalidSubnet))
    );
    let image = world.image(&control, spec(false)).await;
    let egress = vec![ConnectorRef::Own(found.arn())];
    let run = control
        .run_microvm(
            &scope(),
            RunMicrovm {
                egress,
                ..world.run(&image)
            },
        )
        .await;
    assert!(matches!(refusal(run), Refusal::ConnectorUnusable(_)));
    let twin = CreateConnector {
        client_token: token("x", ""),
        ..create("out", "subnet-a")
    };
    let twin = control.create_connector(&scope(), twin).await;
    assert!(matches!(refusal(twin), Refusal::ConnectorNameTaken(_)));
    control.delete_connector(&scope(), &key).await.unwrap();
}

#[tokio::test]
async fn a_check_that_a_crash_interrupted_is_made_at_start() {
    let world = World::new();
    let control = world.start().await;
    let made = control
        .create_connector(&scope(), create("out", "subnet-a"))
        .await
        .unwrap();
    control.stop().await;
    let control = world.start().await;
    let key = ConnectorKey::Arn(made.connector.version_arn(1));
    assert_eq!(
        settled(&control, &key).await.connector.state,
        ConnectorState::Active
    );
}

/// What the operator opened for one account looks to others as what nobody has defined.
#[tokio::test]
async fn a_rule_set_of_another_account_does_not_exist() {
    let world = World::new();
    let control = world.start().await;
    let other = Scope {
        account: "000000000001".parse().unwrap(),
        ..scope()
    };
    let key = |name: &str| ConnectorKey::Name(name.parse().unwrap());
    for (name, subnet) in [("taken", "subnet-a"), ("unknown", "subnet-zz")] {
        let request = create(name, subnet);
        control.create_connector(&other, request).await.unwrap();
    }
    let taken = settled_in(&other, &control, &key("taken")).await.connector;
    let unknown = settled_in(&other, &control, &key("unknown"))
        .await
        .connector;
    assert_eq!(taken.state, ConnectorState::Failed);
    assert_eq!(taken.fault, Some(ConnectorFault::InvalidSubnet));
    assert_eq!(taken.fault, unknown.fault);
    let reason = unknown.reason.unwrap().replace("subnet-zz", "subnet-a");
    assert_eq!(taken.reason.unwrap(), reason);
}
