//! Operations on network connectors.

use super::client_tokens::Repeatable;
use super::settle_connector::{self, later, standing};
use super::{Control, own};
use crate::arn::{ConnectorArn, Scope, TaggedArn};
use crate::connector::{
    Connector, ConnectorKey, ConnectorState, ConnectorVersion, ConnectorWithVersion,
    CreateConnector, UpdateConnector,
};
use crate::id::ConnectorId;
use crate::machine::connector::{Event, Standing};
use crate::page::{Cursor, Page, PageRequest};
use crate::refusal::{ControlError, Refusal};
use crate::store::{Batch, Change, Guard, Verdict};

/// The `stateReason` of AWS for a new connector (facts section 4).
const REASON_NEW: &str = "Initial creation";
/// The reason of AWS for an update that changes nothing (facts section 4).
const REASON_SAME: &str = "No configuration changes detected";

impl Control {
    /// Creates a connector. It is PENDING; a background task checks it and makes it ACTIVE or FAILED.
    ///
    /// # Errors
    ///
    /// What the domain refuses, or a failure of the store.
    pub async fn create_connector(
        &self,
        scope: &Scope,
        request: CreateConnector,
    ) -> Result<ConnectorWithVersion, ControlError> {
        let token = Some(request.client_token.clone());
        let repeatable = Repeatable::new(scope, "CreateNetworkConnector", token);
        if let Some(made) = self.made_connector(&repeatable).await? {
            return Ok(made);
        }
        let (connector, version) = self.new_connector(scope, &request);
        let quotas = self.quotas(scope.account);
        let resource = TaggedArn::Connector(connector.arn());
        let batch = Batch::new()
            .guard(Guard::ConnectorNameFree(
                scope.clone(),
                request.name.clone(),
            ))
            .guard(Guard::ConnectorsBelow(scope.clone(), quotas.connectors))
            .guard(Guard::TagsFit {
                resource: resource.clone(),
                keys: request.tags.keys().cloned().collect(),
                max: quotas.tags_per_resource,
            })
            .change(Change::PutConnector(connector.clone()))
            .change(Change::PutConnectorVersion(version.clone()))
            .change(Change::PutTags(resource, request.tags));
        let batch = repeatable.note(&self.shared, batch, connector.id.to_string());
        match self.shared.commit(batch).await? {
            Verdict::Committed => {}
            Verdict::Blocked(Guard::TokenFree(_)) => {
                let made = self.made_connector(&repeatable).await?;
                return made.ok_or_else(|| Refusal::TokenConflict.into());
            }
            Verdict::Blocked(Guard::ConnectorsBelow(_, max)) => {
                return Err(Refusal::ConnectorQuota { max }.into());
            }
            Verdict::Blocked(Guard::TagsFit { max, .. }) => {
                return Err(Refusal::TagQuota { max }.into());
            }
            Verdict::Blocked(_) => return Err(Refusal::ConnectorNameTaken(request.name).into()),
        }
        settle_connector::begin(&self.shared, connector.id);
        Ok(ConnectorWithVersion { connector, version })
    }

    /// Creates the next version of a connector, or none if nothing changes.
    ///
    /// # Errors
    ///
    /// What the domain refuses, or a failure of the store.
    pub async fn update_connector(
        &self,
        scope: &Scope,
        request: UpdateConnector,
    ) -> Result<ConnectorWithVersion, ControlError> {
        let token = request.client_token.clone();
        let repeatable = Repeatable::new(scope, "UpdateNetworkConnector", token);
        if let Some(made) = self.made_connector(&repeatable).await? {
            return Ok(made);
        }
        loop {
            let found = self.connector(scope, &request.key).await?;
            let (batch, connector, version) = self.next_version(&request, found)?;
            let batch = repeatable.note(&self.shared, batch, connector.id.to_string());
            match self.shared.commit(batch).await? {
                Verdict::Committed => {
                    settle_connector::begin(&self.shared, connector.id);
                    return Ok(ConnectorWithVersion { connector, version });
                }
                Verdict::Blocked(Guard::TokenFree(_)) => {
                    let made = self.made_connector(&repeatable).await?;
                    return made.ok_or_else(|| Refusal::TokenConflict.into());
                }
                // Another caller changed the connector meanwhile: read it again.
                Verdict::Blocked(_) => {}
            }
        }
    }

    /// Returns one connector with one version: that of a qualified ARN, or else the latest.
    ///
    /// # Errors
    ///
    /// What the domain refuses, or a failure of the store.
    pub async fn connector(
        &self,
        scope: &Scope,
        key: &ConnectorKey,
    ) -> Result<ConnectorWithVersion, ControlError> {
        let connector = self.known_connector(scope, key).await?;
        let number = match key {
            ConnectorKey::Arn(ConnectorArn {
                version: Some(number),
                ..
            }) => *number,
            _ => connector.latest_version,
        };
        let version = self
            .shared
            .store
            .connector_version(connector.id, number)
            .await?;
        let version = version.ok_or_else(|| Refusal::ConnectorNotFound(key.clone()))?;
        Ok(ConnectorWithVersion { connector, version })
    }

    /// Lists the connectors of the scope, by id.
    ///
    /// # Errors
    ///
    /// What the domain refuses, or a failure of the store.
    pub async fn connectors(
        &self,
        scope: &Scope,
        state: Option<ConnectorState>,
        page: PageRequest,
    ) -> Result<Page<Connector>, ControlError> {
        let limit = page.bounded_limit();
        let after = page.after.map(|cursor| cursor.key().parse()).transpose();
        let after = after.map_err(|_| Refusal::BadCursor)?;
        let found = self
            .shared
            .store
            .connectors(scope, state, after, limit + 1)
            .await?;
        Ok(Page::cut(found, limit, |connector| {
            Cursor::new(&connector.id)
        }))
    }

    /// Lists the versions of a connector, newest first.
    ///
    /// # Errors
    ///
    /// What the domain refuses, or a failure of the store.
    pub async fn connector_versions(
        &self,
        scope: &Scope,
        key: &ConnectorKey,
        state: Option<ConnectorState>,
        page: PageRequest,
    ) -> Result<Page<ConnectorVersion>, ControlError> {
        let connector = self.known_connector(scope, key).await?;
        let limit = page.bounded_limit();
        let before = page.after.map(|cursor| cursor.key().parse()).transpose();
        let before = before.map_err(|_| Refusal::BadCursor)?;
        let store = &self.shared.store;
        let found = store
            .connector_versions(connector.id, state, before, limit + 1)
            .await?;
        Ok(Page::cut(found, limit, |version| {
            Cursor::new(&version.number)
        }))
    }

    /// Deletes a connector, or the one version of a qualified ARN.
    ///
    /// # Errors
    ///
    /// What the domain refuses, or a failure of the store.
    pub async fn delete_connector(
        &self,
        scope: &Scope,
        key: &ConnectorKey,
    ) -> Result<ConnectorWithVersion, ControlError> {
        loop {
            let mut found = self.connector(scope, key).await?;
            let is_version = matches!(key, ConnectorKey::Arn(arn) if arn.version.is_some());
            let batch = if is_version {
                remove_version(key, &mut found)?
            } else {
                self.remove_all(key, &mut found)?
            };
            let id = found.connector.id;
            match self.shared.commit(batch).await? {
                Verdict::Committed => {
                    settle_connector::begin(&self.shared, id);
                    return Ok(found);
                }
                Verdict::Blocked(Guard::ConnectorUnused(_)) => {
                    return Err(Refusal::ConnectorInUse(key.clone()).into());
                }
                // Another caller changed the connector meanwhile: read it again.
                Verdict::Blocked(_) => {}
            }
        }
    }

    /// The referenced connector, if it is ACTIVE and has the version.
    pub(super) async fn active_connector(
        &self,
        arn: &ConnectorArn,
    ) -> Result<Option<Connector>, ControlError> {
        let key = ConnectorKey::Arn(arn.clone());
        match self.connector(&arn.scope, &key).await {
            Ok(found) if found.version.state == ConnectorState::Active => Ok(Some(found.connector)),
            Ok(_) | Err(ControlError::Refused(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn known_connector(
        &self,
        scope: &Scope,
        key: &ConnectorKey,
    ) -> Result<Connector, ControlError> {
        let store = &self.shared.store;
        let connector = match key {
            ConnectorKey::Id(id) => store.connector(*id).await?,
            ConnectorKey::Name(name) => store.connector_named(scope, name).await?,
            ConnectorKey::Arn(arn) => {
                own(scope, &arn.scope)?;
                store.connector(arn.id).await?
            }
        };
        let owned = connector.filter(|connector| connector.scope == *scope);
        owned.ok_or_else(|| Refusal::ConnectorNotFound(key.clone()).into())
    }

    /// The connector that an earlier request with the same token created.
    async fn made_connector(
        &self,
        repeatable: &Repeatable,
    ) -> Result<Option<ConnectorWithVersion>, ControlError> {
        let Some(resource) = repeatable.made_before(&self.shared).await? else {
            return Ok(None);
        };
        let id: ConnectorId = resource.parse().map_err(|_| Refusal::TokenConflict)?;
        let Some(connector) = self.shared.store.connector(id).await? else {
            return Ok(None);
        };
        let number = connector.last_version;
        let version = self.shared.store.connector_version(id, number).await?;
        Ok(version.map(|version| ConnectorWithVersion { connector, version }))
    }

    fn new_connector(
        &self,
        scope: &Scope,
        request: &CreateConnector,
    ) -> (Connector, ConnectorVersion) {
        let now = self.shared.clock.now();
        let Standing {
            state,
            update,
            latest,
            last,
        } = Standing::NEW;
        let connector = Connector {
            id: ConnectorId::generate(),
            scope: scope.clone(),
            name: request.name.clone(),
            state,
            reason: Some(REASON_NEW.to_owned()),
            fault: None,
            operator_role: request.operator_role.clone(),
            latest_version: latest,
            last_version: last,
            update_status: update,
            update_reason: None,
            update_fault: None,
            created_at: now,
            updated_at: now,
        };
        let version = ConnectorVersion {
            connector: connector.id,
            number: latest,
            egress: request.egress.clone(),
            operator_role: request.operator_role.clone(),
            state,
            reason: Some(REASON_NEW.to_owned()),
            fault: None,
            updated_at: now,
        };
        (connector, version)
    }

    /// The batch of an update, with the records as the update leaves them.
    fn next_version(
        &self,
        request: &UpdateConnector,
        found: ConnectorWithVersion,
    ) -> Result<(Batch, Connector, ConnectorVersion), Refusal> {
        let ConnectorWithVersion { connector, version } = found;
        let egress = request
            .egress
            .clone()
            .unwrap_or_else(|| version.egress.clone());
        let role = request
            .operator_role
            .clone()
            .unwrap_or_else(|| version.operator_role.clone());
        let is_same = egress == version.egress && role == version.operator_role;
        let max = self.quotas(connector.scope.account).versions_per_connector;
        if !is_same && connector.last_version >= max {
            return Err(Refusal::ConnectorQuota { max });
        }
        let event = if is_same {
            Event::UpdateToSame
        } else {
            Event::Update
        };
        let busy = || Refusal::ConnectorBusy(request.key.clone(), connector.state);
        let next = standing(&connector).step(event).ok_or_else(busy)?;
        let at = later(connector.updated_at, self.shared.clock.now());
        let unchanged = Guard::ConnectorUnchanged(connector.id, connector.updated_at);
        let connector = Connector {
            update_status: next.update,
            update_reason: is_same.then(|| REASON_SAME.to_owned()),
            update_fault: None,
            last_version: next.last,
            updated_at: at,
            ..connector
        };
        let batch = Batch::new()
            .guard(unchanged)
            .change(Change::PutConnector(connector.clone()));
        if is_same {
            return Ok((batch, connector, version));
        }
        let version = ConnectorVersion {
            connector: connector.id,
            number: next.last,
            egress,
            operator_role: role,
            state: ConnectorState::Pending,
            reason: None,
            fault: None,
            updated_at: at,
        };
        let batch = batch.change(Change::PutConnectorVersion(version.clone()));
        Ok((batch, connector, version))
    }

    fn remove_all(
        &self,
        key: &ConnectorKey,
        found: &mut ConnectorWithVersion,
    ) -> Result<Batch, Refusal> {
        let connector = &mut found.connector;
        // Deletion is idempotent.
        if connector.state == ConnectorState::Deleting {
            return Ok(Batch::new());
        }
        let busy = || Refusal::ConnectorBusy(key.clone(), connector.state);
        let next = standing(connector).step(Event::Delete).ok_or_else(busy)?;
        let unchanged = Guard::ConnectorUnchanged(connector.id, connector.updated_at);
        connector.state = next.state;
        connector.update_status = next.update;
        connector.updated_at = later(connector.updated_at, self.shared.clock.now());
        Ok(Batch::new()
            .guard(Guard::ConnectorUnused(connector.id))
            .guard(unchanged)
            .change(Change::PutConnector(connector.clone())))
    }
}

/// Removes one version at once: only launches refer to versions, and a launch has copied the names of the rule sets.
fn remove_version(key: &ConnectorKey, found: &mut ConnectorWithVersion) -> Result<Batch, Refusal> {
    let ConnectorWithVersion { connector, version } = found;
    let is_unsettled =
        standing(connector).is_unsettled() && version.number == connector.last_version;
    if version.number == connector.latest_version || is_unsettled {
        return Err(Refusal::LatestConnectorVersion(key.clone()));
    }
    version.state = ConnectorState::Deleting;
    Ok(Batch::new()
        .guard(Guard::ConnectorUnchanged(
            connector.id,
            connector.updated_at,
        ))
        .change(Change::RemoveConnectorVersion(connector.id, version.number)))
}
