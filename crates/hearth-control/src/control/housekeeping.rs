//! Background tasks: what is due by the clock, and events of the host.

use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use super::owner::Command;
use super::{Shared, pressure, reconcile};
use crate::host::HostEvent;
use crate::id::{AccountId, MicrovmId};
use crate::instance::InstanceId;
use crate::refusal::ControlError;
use crate::store::{Batch, Change};
use crate::time::Timestamp;

/// Most records removed in one batch: few enough that other writers hardly wait.
const REAP_AT_ONCE: u32 = 200;

/// Starts the background tasks.
pub(super) fn begin(shared: &Arc<Shared>) {
    shared.tasks.spawn(listen(Arc::clone(shared)));
    shared.tasks.spawn(tick(Arc::clone(shared)));
}

async fn listen(shared: Arc<Shared>) {
    let mut last = 0;
    loop {
        let told = shared.host.events(last).await;
        last = told.last;
        for event in told.events {
            match event {
                HostEvent::Ended { id, reason } => tell_of_end(&shared, id, reason),
                HostEvent::MemoryShort { beyond } => pressure::relieve(&shared, beyond),
            }
        }
        if told.are_missing
            && let Err(error) = reconcile::pass(&shared).await
        {
            warn!(%error, "events of the host are missing, and reconciliation failed; the timer retries");
        }
    }
}

fn tell_of_end(shared: &Shared, InstanceId::Microvm(id): InstanceId, reason: String) {
    if let Some(owner) = shared.microvms.get(id) {
        // Apart, so that an owner that waits for a full disk keeps no other from its news.
        let told = async move { owner.tell(Command::Ended(reason)).await };
        shared.tasks.spawn(told);
    }
}

async fn tick(shared: Arc<Shared>) {
    loop {
        let next = shared.clock.now().after(shared.policy.reconcile_interval);
        shared.clock.sleep_until(next).await;
        if let Err(error) = reconcile::pass(&shared).await {
            warn!(%error, "reconciliation failed and will be repeated");
        }
        if let Err(error) = reap(&shared).await {
            warn!(%error, "reaping failed and will be repeated");
        }
    }
}

/// Removes records whose retention is over.
async fn reap(shared: &Shared) -> Result<(), ControlError> {
    let now = shared.clock.now();
    let policy = &shared.policy;
    let terminated = before(now, policy.terminated_retention);
    loop {
        let old = shared
            .store
            .terminated_microvms(terminated, REAP_AT_ONCE)
            .await?;
        if old.is_empty() {
            break;
        }
        forget(shared, old).await?;
    }
    for account in shared.store.accounts().await? {
        forget_beyond_quota(shared, account.id).await?;
    }
    let rest = Batch::new()
        .change(Change::ForgetTokens(before(now, policy.token_retention)))
        .change(Change::ForgetIntents(before(now, policy.journal_retention)));
    shared.commit(rest).await?;
    Ok(())
}

/// Removes the ended microVMs of an account beyond its quota, those that ended first. Their client tokens go with
/// them: nobody repeats a launch after so many later ones.
async fn forget_beyond_quota(shared: &Shared, account: AccountId) -> Result<(), ControlError> {
    let newest = shared.policy.quotas_of(account).ended_microvms;
    loop {
        let store = &shared.store;
        let beyond = store.terminated_microvms_beyond(account, newest, REAP_AT_ONCE);
        let beyond = beyond.await?;
        if beyond.is_empty() {
            return Ok(());
        }
        forget(shared, beyond).await?;
    }
}

async fn forget(shared: &Shared, ended: Vec<MicrovmId>) -> Result<(), ControlError> {
    info!(count = ended.len(), "forgetting terminated microVMs");
    let changes = ended.into_iter().map(Change::RemoveMicrovm);
    let batch = changes.fold(Batch::new(), Batch::change);
    shared.commit(batch).await?;
    Ok(())
}

fn before(now: Timestamp, age: Duration) -> Timestamp {
    let age_ms = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_unix_ms(now.unix_ms().saturating_sub(age_ms))
}
