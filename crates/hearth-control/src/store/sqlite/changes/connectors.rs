//! Changes of network connectors.

use rusqlite::{Connection, params};

use super::super::rows::scope_text;
use super::{hit, remove_resource, run};
use crate::arn::TaggedArn;
use crate::connector::{Connector, ConnectorVersion};
use crate::id::ConnectorId;
use crate::store::form::Stored as _;
use crate::store::text::Word as _;
use crate::store::{Change, Result};

pub(super) fn put(db: &Connection, connector: &Connector) -> Result<()> {
    run(
        db,
        "INSERT INTO connector (id, scope, name, state, reason, fault, operator_role, latest_version, last_version, \
         update_status, update_reason, update_fault, created, updated) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET state = excluded.state, \
         reason = excluded.reason, fault = excluded.fault, operator_role = excluded.operator_role, \
         latest_version = excluded.latest_version, last_version = excluded.last_version, \
         update_status = excluded.update_status, update_reason = excluded.update_reason, \
         update_fault = excluded.update_fault, updated = excluded.updated",
        params![
            connector.id.to_string(),
            scope_text(&connector.scope),
            connector.name.as_str(),
            connector.state.word(),
            connector.reason,
            connector.fault.map(|fault| fault.word()),
            connector.operator_role,
            connector.latest_version,
            connector.last_version,
            connector.update_status.map(|status| status.word()),
            connector.update_reason,
            connector.update_fault.map(|fault| fault.word()),
            connector.created_at.unix_ms(),
            connector.updated_at.unix_ms(),
        ],
    )?;
    Ok(())
}

pub(super) fn put_version(db: &Connection, version: &ConnectorVersion) -> Result<()> {
    run(
        db,
        "INSERT INTO connector_version (connector, number, egress, operator_role, state, reason, fault, updated) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (connector, number) DO UPDATE SET state = excluded.state, \
         reason = excluded.reason, fault = excluded.fault, updated = excluded.updated",
        params![
            version.connector.to_string(),
            version.number,
            version.egress.to_text()?,
            version.operator_role,
            version.state.word(),
            version.reason,
            version.fault.map(|fault| fault.word()),
            version.updated_at.unix_ms(),
        ],
    )?;
    Ok(())
}

pub(super) fn remove_version(
    db: &Connection,
    change: &Change,
    id: ConnectorId,
    number: u32,
) -> Result<()> {
    hit(
        db,
        change,
        "DELETE FROM connector_version WHERE connector = ? AND number = ?",
        params![id.to_string(), number],
    )
}

/// Removes a connector. Its versions go with it, because they refer to it.
pub(super) fn remove(db: &Connection, change: &Change, connector: &Connector) -> Result<()> {
    let arn = TaggedArn::Connector(connector.arn()).to_string();
    run(db, "DELETE FROM tag WHERE resource = ?", [arn])?;
    let statement = "DELETE FROM connector WHERE id = ?";
    remove_resource(db, change, statement, &connector.id.to_string())
}
