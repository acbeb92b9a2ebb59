//! Answers of `lambda-core`, built from records of the control plane.

use hearth_control::connector::{
    Connector, ConnectorKey, ConnectorVersion, ConnectorWithVersion, VpcEgress,
};

use crate::model::lambda_core as model;

/// The answer of create and delete.
pub(super) fn created(found: &ConnectorWithVersion) -> model::CreateNetworkConnectorOutput {
    model::CreateNetworkConnectorOutput {
        network_connector_version_members: with_version(found),
    }
}

/// The answer of an update, with its status.
pub(super) fn updated(made: &ConnectorWithVersion) -> model::UpdateNetworkConnectorOutput {
    let ConnectorWithVersion { connector, .. } = made;
    model::UpdateNetworkConnectorOutput {
        network_connector_version_members: with_version(made),
        last_modified: Some(connector.updated_at.into()),
        last_update_status: connector.update_status.map(Into::into),
        last_update_status_reason: connector.update_reason.clone(),
    }
}

/// `GetNetworkConnector`: a qualified ARN gets its version, any other name the latest one.
pub(super) fn found(
    found: &ConnectorWithVersion,
    key: &ConnectorKey,
) -> model::GetNetworkConnectorOutput {
    let ConnectorWithVersion { connector, .. } = found;
    let mut members = with_version(found);
    let mut latest = None;
    if !matches!(key, ConnectorKey::Arn(arn) if arn.version.is_some()) {
        (members.version, members.version_arn) = (None, None);
        latest = Some(connector.latest_version);
    }
    model::GetNetworkConnectorOutput {
        network_connector_version_members: members,
        last_modified: Some(connector.updated_at.into()),
        last_update_status: connector.update_status.map(Into::into),
        last_update_status_reason: connector.update_reason.clone(),
        last_update_status_reason_code: connector.update_fault.map(Into::into),
        latest_version: latest.map(Into::into),
        latest_version_arn: latest.map(|version| connector.version_arn(version).to_string()),
        state_reason: connector.reason.clone(),
        state_reason_code: connector.fault.map(Into::into),
    }
}

/// An item of `ListNetworkConnectors`.
pub(super) fn connector_item(connector: &Connector) -> model::NetworkConnectorSummary {
    let latest = connector.latest_version;
    model::NetworkConnectorSummary {
        arn: connector.arn().to_string(),
        id: connector.id.to_string(),
        last_modified: Some(connector.updated_at.into()),
        latest_version: Some(latest.into()),
        latest_version_arn: Some(connector.version_arn(latest).to_string()),
        name: connector.name.to_string(),
        state: Some(connector.state.into()),
        r#type: model::NetworkConnectorType::VpcEgress,
    }
}

/// An item of `ListNetworkConnectorVersions`.
pub(super) fn version_item(
    connector: &Connector,
    version: &ConnectorVersion,
) -> model::NetworkConnectorVersionSummary {
    model::NetworkConnectorVersionSummary {
        arn: connector.arn().to_string(),
        id: connector.id.to_string(),
        last_modified: Some(version.updated_at.into()),
        name: connector.name.to_string(),
        state: version.state.into(),
        state_reason: version.reason.clone(),
        state_reason_code: version.fault.map(Into::into),
        version: version.number.into(),
        version_arn: connector.version_arn(version.number).to_string(),
    }
}

fn with_version(found: &ConnectorWithVersion) -> model::NetworkConnectorVersionMembers {
    let ConnectorWithVersion { connector, version } = found;
    model::NetworkConnectorVersionMembers {
        arn: connector.arn().to_string(),
        configuration: Some(configuration(&version.egress)),
        id: connector.id.to_string(),
        name: connector.name.to_string(),
        operator_role: Some(version.operator_role.clone()),
        state: Some(connector.state.into()),
        version: Some(version.number.into()),
        version_arn: Some(connector.version_arn(version.number).to_string()),
    }
}

fn configuration(egress: &VpcEgress) -> model::NetworkConnectorConfiguration {
    let elastic_ip = egress.elastic_ip.map(|kind| model::ElasticIpConfiguration {
        r#type: kind.into(),
    });
    model::NetworkConnectorConfiguration::VpcEgressConfiguration(
        model::NetworkConnectorVpcEgressConfiguration {
            associated_compute_resource_types: Some(vec![egress.compute.into()]),
            elastic_ip_configuration: elastic_ip,
            network_protocol: Some(egress.protocol.into()),
            security_group_ids: egress.security_group_ids.clone(),
            subnet_ids: Some(egress.subnet_ids.clone()),
        },
    )
}
