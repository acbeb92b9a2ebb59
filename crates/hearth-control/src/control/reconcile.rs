//! Reconciliation of records, journal and host: at start, by timer, and on request.
//!
//! A pass keeps no state and may be repeated at any time. The order matters: the host is asked *before* the records
//! are read. A record is always written before the host begins, so what the host has and no record explains is
//! orphaned.

use std::collections::HashMap;
use std::sync::Arc;

use tracing::{info, warn};

use super::owner::{self, Beginning, Holdings};
use super::{Shared, image_owner, settle_connector};
use crate::host::{Inventory, Presence};
use crate::instance::InstanceId;
use crate::life::Phase;
use crate::microvm::Microvm;
use crate::refusal::ControlError;
use crate::store::{Batch, Change, IntentSubject};

/// Starts the owners of everything that lives according to the records, and removes what is orphaned.
pub(super) async fn restart(shared: &Arc<Shared>) -> Result<(), ControlError> {
    let inventory = shared.host.inventory().await?;
    let found: HashMap<_, _> = inventory.instances.iter().cloned().collect();
    for microvm in shared.store.living_microvms().await? {
        let presence = found.get(&microvm.id.into()).cloned();
        take_up(shared, microvm, presence);
    }
    for image in shared.store.all_images().await? {
        let versions = shared.store.versions(&image.arn, None, u32::MAX).await?;
        image_owner::spawn(shared, image, versions);
    }
    for connector in shared.store.unsettled_connectors().await? {
        settle_connector::begin(shared, connector.id);
    }
    conclude_orphans(shared).await?;
    remove_orphans(shared, &inventory).await
}

/// One pass over all records and the host.
pub(super) async fn pass(shared: &Arc<Shared>) -> Result<(), ControlError> {
    let asked_at = shared.clock.now();
    let inventory = shared.host.inventory().await?;
    let found: HashMap<_, _> = inventory.instances.iter().cloned().collect();
    for (id, owner) in shared.microvms.all() {
        owner.observe(found.get(&id.into()).cloned(), asked_at);
    }
    remove_orphans(shared, &inventory).await
}

/// Starts the owner of a microVM from before a restart. Its shares are taken without a check: they were granted
/// before.
fn take_up(shared: &Arc<Shared>, microvm: Microvm, presence: Option<Presence>) {
    let (account, tier) = (microvm.scope.account, microvm.terms.tier);
    let allocation = shared.ledger.grant(account, tier);
    let is_resident = !matches!(
        microvm.life.phase,
        Phase::Suspended { .. } | Phase::Sealing { since: Some(_) }
    );
    let residency = is_resident.then(|| shared.ledger.grant_residency(account, tier));
    let endpoint = shared
        .endpoints
        .hold(account, microvm.terms.endpoint.clone());
    let holdings = Holdings {
        _allocation: allocation,
        residency,
        _endpoint: endpoint,
    };
    owner::spawn(shared, microvm, holdings, Beginning::Restart(presence));
}

/// Concludes journal entries whose subject has no record any more.
async fn conclude_orphans(shared: &Shared) -> Result<(), ControlError> {
    for intent in shared.store.open_intents().await? {
        let is_owned = match &intent.subject {
            IntentSubject::Microvm(id) => shared.microvms.get(*id).is_some(),
            IntentSubject::Image(arn) => shared.images.get(arn).is_some(),
        };
        if !is_owned {
            warn!(?intent, "concluding an intent whose subject has no record");
            let outcome = "abandoned".to_owned();
            let closed = Change::Conclude(intent.subject, outcome, shared.clock.now());
            shared.commit(Batch::new().change(closed)).await?;
        }
    }
    Ok(())
}

async fn remove_orphans(shared: &Shared, inventory: &Inventory) -> Result<(), ControlError> {
    for (id, presence) in &inventory.instances {
        // Damaged instances were set aside. Busy ones are looked at by the next pass.
        if matches!(presence, Presence::Damaged(_) | Presence::Busy) {
            continue;
        }
        if is_orphan(shared, *id).await? {
            info!(%id, ?presence, "removing an instance without an owner");
            remove(shared, shared.host.discard(*id).await);
        }
    }
    for (snapshot, build) in &inventory.snapshots {
        if !shared.store.is_snapshot_needed(&snapshot.0, *build).await? {
            info!(?snapshot, "removing a snapshot that no version needs");
            remove(shared, shared.host.free_snapshot(snapshot).await);
        }
    }
    for build in &inventory.builds {
        if !shared.store.is_snapshot_needed("", *build).await? {
            info!(id = %build, "removing what a build left");
            remove(shared, shared.host.discard_build(*build).await);
        }
    }
    Ok(())
}

/// Counts a removal. The next pass retries one that failed.
fn remove(shared: &Shared, removed: Result<(), crate::host::HostError>) {
    match removed {
        Ok(()) => shared.metrics.orphans_removed.increment(),
        Err(error) => warn!(%error, "removing an orphan failed"),
    }
}

async fn is_orphan(shared: &Shared, id: InstanceId) -> Result<bool, ControlError> {
    let InstanceId::Microvm(id) = id;
    if shared.microvms.get(id).is_some() {
        return Ok(false);
    }
    let record = shared.store.microvm(id).await?;
    Ok(record.is_none_or(|microvm| microvm.life.phase == Phase::Terminated))
}
