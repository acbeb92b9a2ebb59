//! Queries on network connectors.

use rusqlite::{Connection, Row, params};

use super::read_images::{find, list};
use super::rows::RowReader;
use crate::arn::Scope;
use crate::connector::{Connector, ConnectorState, ConnectorVersion, VpcEgress};
use crate::id::{ConnectorId, ConnectorName};
use crate::store::Result;
use crate::store::form::Stored as _;
use crate::store::text::{Word as _, scope_text};

fn connector_of(row: &Row<'_>) -> Result<Connector> {
    let columns = RowReader::of(row, "network connector");
    Ok(Connector {
        id: columns.parsed("id")?,
        scope: columns.scope("scope")?,
        name: columns.parsed("name")?,
        state: columns.word("state")?,
        reason: columns.plain("reason")?,
        fault: columns.optional_word("fault")?,
        operator_role: columns.plain("operator_role")?,
        latest_version: columns.plain("latest_version")?,
        last_version: columns.plain("last_version")?,
        update_status: columns.optional_word("update_status")?,
        update_reason: columns.plain("update_reason")?,
        update_fault: columns.optional_word("update_fault")?,
        created_at: columns.time("created")?,
        updated_at: columns.time("updated")?,
    })
}

fn version_of(row: &Row<'_>) -> Result<ConnectorVersion> {
    let columns = RowReader::of(row, "network connector version");
    Ok(ConnectorVersion {
        connector: columns.parsed("connector")?,
        number: columns.plain("number")?,
        egress: VpcEgress::from_text(&columns.plain::<String>("egress")?)?,
        operator_role: columns.plain("operator_role")?,
        state: columns.word("state")?,
        reason: columns.plain("reason")?,
        fault: columns.optional_word("fault")?,
        updated_at: columns.time("updated")?,
    })
}

pub(super) fn connector(db: &Connection, id: ConnectorId) -> Result<Option<Connector>> {
    find(
        db,
        "SELECT * FROM connector WHERE id = ?",
        [id.to_string()],
        connector_of,
    )
}

pub(super) fn named(
    db: &Connection,
    scope: &Scope,
    name: &ConnectorName,
) -> Result<Option<Connector>> {
    let query = "SELECT * FROM connector WHERE scope = ? AND name = ?";
    find(
        db,
        query,
        params![scope_text(scope), name.as_str()],
        connector_of,
    )
}

pub(super) fn connectors(
    db: &Connection,
    scope: &Scope,
    state: Option<ConnectorState>,
    after: Option<ConnectorId>,
    limit: u32,
) -> Result<Vec<Connector>> {
    let after = after.map(|id| id.to_string()).unwrap_or_default();
    let state = state.map(|state| state.word());
    let query = "SELECT * FROM connector WHERE scope = ?1 AND id > ?2 AND (?3 IS NULL OR state = ?3) \
                 ORDER BY id LIMIT ?4";
    list(
        db,
        query,
        params![scope_text(scope), after, state, limit],
        connector_of,
    )
}

pub(super) fn unsettled(db: &Connection) -> Result<Vec<Connector>> {
    let query = "SELECT * FROM connector WHERE state IN ('PENDING', 'DELETING') \
                 OR update_status = 'InProgress'";
    list(db, query, [], connector_of)
}

pub(super) fn version(
    db: &Connection,
    id: ConnectorId,
    number: u32,
) -> Result<Option<ConnectorVersion>> {
    let query = "SELECT * FROM connector_version WHERE connector = ? AND number = ?";
    find(db, query, params![id.to_string(), number], version_of)
}

pub(super) fn versions(
    db: &Connection,
    id: ConnectorId,
    state: Option<ConnectorState>,
    before: Option<u32>,
    limit: u32,
) -> Result<Vec<ConnectorVersion>> {
    let before = before.map_or(i64::MAX, i64::from);
    let state = state.map(|state| state.word());
    let query = "SELECT * FROM connector_version WHERE connector = ?1 AND number < ?2 \
                 AND (?3 IS NULL OR state = ?3) ORDER BY number DESC LIMIT ?4";
    list(
        db,
        query,
        params![id.to_string(), before, state, limit],
        version_of,
    )
}
