//! Background work on a connector, as its state demands: the check of a new version, or the removal.
//!
//! A connector has no owner, because none of this takes time. It runs after each change and at start. Two runs at a
//! time do no harm: each writes only if the connector is unchanged since it was read.

use std::sync::Arc;

use super::Shared;
use super::retry::until_done;
use crate::connector::{Connector, ConnectorFault, ConnectorState, ConnectorVersion, UpdateStatus};
use crate::id::ConnectorId;
use crate::machine::connector::{Event, Standing};
use crate::store::{Batch, Change, Guard, StoreError};
use crate::time::Timestamp;

pub(super) fn begin(shared: &Arc<Shared>, id: ConnectorId) {
    let task = Arc::clone(shared);
    shared.tasks.spawn(async move {
        until_done("settling a network connector", || settle(&task, id)).await;
    });
}

async fn settle(shared: &Shared, id: ConnectorId) -> Result<(), StoreError> {
    loop {
        let Some(connector) = shared.store.connector(id).await? else {
            return Ok(());
        };
        let unchanged = Guard::ConnectorUnchanged(id, connector.updated_at);
        let batch = Batch::new().guard(unchanged);
        let batch = if connector.state == ConnectorState::Deleting {
            batch.change(Change::RemoveConnector(connector))
        } else if standing(&connector).is_unsettled() {
            let Some(checked) = check(shared, connector, batch).await? else {
                return Ok(());
            };
            checked
        } else {
            return Ok(());
        };
        // Committed or blocked, the next read decides.
        shared.commit(batch).await?;
    }
}

async fn check(
    shared: &Shared,
    connector: Connector,
    batch: Batch,
) -> Result<Option<Batch>, StoreError> {
    let version = shared
        .store
        .connector_version(connector.id, connector.last_version)
        .await?;
    let Some(version) = version else {
        return Ok(None);
    };
    let checked = shared.rules.check(connector.scope.account, &version.egress);
    let event = if checked.is_ok() {
        Event::Accepted
    } else {
        Event::Rejected
    };
    let Some(next) = standing(&connector).step(event) else {
        return Ok(None);
    };
    let at = later(connector.updated_at, shared.clock.now());
    let (connector, version) = settled(connector, version, next, checked.err(), at);
    let records = [
        Change::PutConnector(connector),
        Change::PutConnectorVersion(version),
    ];
    Ok(Some(records.into_iter().fold(batch, Batch::change)))
}

/// The records after a check.
fn settled(
    connector: Connector,
    version: ConnectorVersion,
    next: Standing,
    fault: Option<(ConnectorFault, String)>,
    at: Timestamp,
) -> (Connector, ConnectorVersion) {
    let (fault, reason) = fault.unzip();
    let state = if fault.is_none() {
        ConnectorState::Active
    } else {
        ConnectorState::Failed
    };
    let operator_role = version.operator_role.clone();
    let version = ConnectorVersion {
        state,
        reason: reason.clone(),
        fault,
        updated_at: at,
        ..version
    };
    let mut connector = Connector {
        state: next.state,
        update_status: next.update,
        latest_version: next.latest,
        updated_at: at,
        ..connector
    };
    if next.update.is_some() {
        (connector.update_reason, connector.update_fault) = (reason, fault);
    } else {
        (connector.reason, connector.fault) = (reason, fault);
    }
    if next.update == Some(UpdateStatus::Successful) {
        connector.operator_role = operator_role;
    }
    (connector, version)
}

/// The part of a connector that its state machine knows.
pub(super) fn standing(connector: &Connector) -> Standing {
    Standing {
        state: connector.state,
        update: connector.update_status,
        latest: connector.latest_version,
        last: connector.last_version,
    }
}

/// A time of change later than the last one, however fast changes follow: the time is used to detect concurrent
/// changes.
pub(super) fn later(before: Timestamp, now: Timestamp) -> Timestamp {
    now.max(Timestamp::from_unix_ms(before.unix_ms().saturating_add(1)))
}
