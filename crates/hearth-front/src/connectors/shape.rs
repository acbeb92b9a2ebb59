//! Answers of `lambda-core`: absent members are left out, times are ISO 8601.

use hearth_control::connector::{
    Connector, ConnectorKey, ConnectorVersion, ConnectorWithVersion, VpcEgress,
};
use hearth_control::time::Timestamp;
use serde_json::{Map, Value, json};

use crate::aws_strings::Word;

/// Creating and deleting answer alike.
pub(super) fn created(found: &ConnectorWithVersion) -> Value {
    present(with_version(found))
}

/// Updating tells how the update goes.
pub(super) fn updated(made: &ConnectorWithVersion) -> Value {
    let ConnectorWithVersion { connector, .. } = made;
    let mut members = with_version(made);
    members.extend([
        (
            "LastUpdateStatus",
            json!(connector.update_status.map(Word::text)),
        ),
        ("LastUpdateStatusReason", json!(connector.update_reason)),
        ("LastModified", time(connector.updated_at)),
    ]);
    present(members)
}

/// `GetNetworkConnector`: a qualified ARN gets its version, any other name the latest one.
pub(super) fn found(found: &ConnectorWithVersion, key: &ConnectorKey) -> Value {
    let ConnectorWithVersion { connector, .. } = found;
    let mut members = with_version(found);
    let is_qualified = matches!(key, ConnectorKey::Arn(arn) if arn.version.is_some());
    if !is_qualified {
        members.retain(|(name, _)| !matches!(*name, "Version" | "VersionArn"));
        members.extend([
            ("LatestVersion", json!(connector.latest_version)),
            (
                "LatestVersionArn",
                json!(connector.version_arn(connector.latest_version).to_string()),
            ),
        ]);
    }
    members.extend([
        ("LastModified", time(connector.updated_at)),
        (
            "LastUpdateStatus",
            json!(connector.update_status.map(Word::text)),
        ),
        ("LastUpdateStatusReason", json!(connector.update_reason)),
        (
            "LastUpdateStatusReasonCode",
            json!(connector.update_fault.map(Word::text)),
        ),
        ("StateReason", json!(connector.reason)),
        ("StateReasonCode", json!(connector.fault.map(Word::text))),
    ]);
    present(members)
}

/// `ListNetworkConnectors`.
pub(super) fn connectors(connectors: &[Connector], next: &Value) -> Value {
    let item = |connector: &Connector| {
        let mut members = identity(connector);
        members.extend([
            ("LastModified", time(connector.updated_at)),
            ("LatestVersion", json!(connector.latest_version)),
            (
                "LatestVersionArn",
                json!(connector.version_arn(connector.latest_version).to_string()),
            ),
            ("State", json!(connector.state.text())),
            ("Type", json!("VPC_EGRESS")),
        ]);
        present(members)
    };
    let items: Vec<_> = connectors.iter().map(item).collect();
    present(vec![
        ("NetworkConnectors", json!(items)),
        ("NextMarker", next.clone()),
    ])
}

/// `ListNetworkConnectorVersions`.
pub(super) fn versions(
    connector: &Connector,
    versions: &[ConnectorVersion],
    next: &Value,
) -> Value {
    let item = |version: &ConnectorVersion| {
        let mut members = identity(connector);
        members.extend([
            ("LastModified", time(version.updated_at)),
            ("State", json!(version.state.text())),
            ("StateReason", json!(version.reason)),
            ("StateReasonCode", json!(version.fault.map(Word::text))),
            ("Version", json!(version.number)),
            (
                "VersionArn",
                json!(connector.version_arn(version.number).to_string()),
            ),
        ]);
        present(members)
    };
    let items: Vec<_> = versions.iter().map(item).collect();
    present(vec![
        ("NetworkConnectorVersions", json!(items)),
        ("NextMarker", next.clone()),
    ])
}

type Members = Vec<(&'static str, Value)>;

fn identity(connector: &Connector) -> Members {
    vec![
        ("Arn", json!(connector.arn().to_string())),
        ("Id", json!(connector.id.to_string())),
        ("Name", json!(connector.name.as_str())),
    ]
}

fn with_version(found: &ConnectorWithVersion) -> Members {
    let ConnectorWithVersion { connector, version } = found;
    let mut members = identity(connector);
    members.extend([
        ("Configuration", configuration(&version.egress)),
        ("OperatorRole", json!(version.operator_role)),
        ("State", json!(connector.state.text())),
        ("Version", json!(version.number)),
        (
            "VersionArn",
            json!(connector.version_arn(version.number).to_string()),
        ),
    ]);
    members
}

fn configuration(egress: &VpcEgress) -> Value {
    let elastic_ip = egress.elastic_ip.map(|kind| json!({"Type": kind.text()}));
    let arm = present(vec![
        (
            "AssociatedComputeResourceTypes",
            json!([egress.compute.text()]),
        ),
        ("ElasticIpConfiguration", json!(elastic_ip)),
        ("NetworkProtocol", json!(egress.protocol.text())),
        ("SecurityGroupIds", json!(egress.security_group_ids)),
        ("SubnetIds", json!(egress.subnet_ids)),
    ]);
    json!({"VpcEgressConfiguration": arm})
}

/// The members that have a value.
fn present(members: Members) -> Value {
    let members = members.into_iter().filter(|(_, value)| !value.is_null());
    Value::Object(
        members
            .map(|(name, value)| (name.to_owned(), value))
            .collect::<Map<_, _>>(),
    )
}

fn time(time: Timestamp) -> Value {
    let time = jiff::Timestamp::from_millisecond(time.unix_ms()).ok();
    json!(time.map(|time| time.strftime("%Y-%m-%dT%H:%M:%S%.3f+0000").to_string()))
}
