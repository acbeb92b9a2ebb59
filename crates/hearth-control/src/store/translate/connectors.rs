//! Changes of network connectors.

use super::forget_name;
use crate::arn::TaggedArn;
use crate::connector::{Connector, ConnectorVersion};
use crate::id::ConnectorId;
use crate::store::Result;
use crate::store::form::Stored as _;
use crate::store::primitive::{Rows, Write};
use crate::store::text::{Word as _, scope_text};

pub(super) fn put(connector: &Connector) -> Write {
    let fault = connector.fault.map(|fault| fault.word());
    let update_status = connector.update_status.map(|status| status.word());
    let update_fault = connector.update_fault.map(|fault| fault.word());
    Write::Put {
        table: "connector",
        key: &["id"],
        columns: vec![
            ("id", connector.id.to_string().into()),
            ("scope", scope_text(&connector.scope).into()),
            ("name", connector.name.as_str().into()),
            ("state", connector.state.word().into()),
            ("reason", connector.reason.as_deref().into()),
            ("fault", fault.into()),
            ("operator_role", connector.operator_role.as_str().into()),
            ("latest_version", connector.latest_version.into()),
            ("last_version", connector.last_version.into()),
            ("update_status", update_status.into()),
            ("update_reason", connector.update_reason.as_deref().into()),
            ("update_fault", update_fault.into()),
            ("created", connector.created_at.unix_ms().into()),
            ("updated", connector.updated_at.unix_ms().into()),
        ],
        updated: &[
            "state",
            "reason",
            "fault",
            "operator_role",
            "latest_version",
            "last_version",
            "update_status",
            "update_reason",
            "update_fault",
            "updated",
        ],
    }
}

pub(super) fn put_version(version: &ConnectorVersion) -> Result<Write> {
    let fault = version.fault.map(|fault| fault.word());
    Ok(Write::Put {
        table: "connector_version",
        key: &["connector", "number"],
        columns: vec![
            ("connector", version.connector.to_string().into()),
            ("number", version.number.into()),
            ("egress", version.egress.to_text()?.into()),
            ("operator_role", version.operator_role.as_str().into()),
            ("state", version.state.word().into()),
            ("reason", version.reason.as_deref().into()),
            ("fault", fault.into()),
            ("updated", version.updated_at.unix_ms().into()),
        ],
        updated: &["state", "reason", "fault", "updated"],
    })
}

pub(super) fn remove_version(id: ConnectorId, number: u32) -> Write {
    Write::remove(versions(id).is("number", number))
}

pub(super) fn remove(connector: &Connector) -> Vec<Write> {
    let id = connector.id.to_string();
    let arn = TaggedArn::Connector(connector.arn()).to_string();
    let mut writes = vec![Write::forget(Rows::of("tag").is("resource", arn))];
    writes.extend(forget_name(&id));
    writes.push(Write::forget(versions(connector.id)));
    writes.push(Write::remove(Rows::of("connector").is("id", id)));
    writes
}

fn versions(id: ConnectorId) -> Rows {
    Rows::of("connector_version").is("connector", id.to_string())
}
