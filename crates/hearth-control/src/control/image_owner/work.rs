//! The work of an image's owner on the host.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tracing::{debug, warn};

use super::Outcome;
use crate::control::Shared;
use crate::control::retry::until_done;
use crate::host::{BuildEvent, BuildFailure, BuildSpec, SnapshotRef, Template};
use crate::id::AccountId;
use crate::image::{Build, BuildSizes, ImageSpec, MemoryTier};
use crate::machine::build::REASON_TIMED_OUT;

/// One piece of work under way. Dropping it cancels it.
pub(super) type Work = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// Progress events that may wait to be logged. The host does not wait: it drops events when the queue is full.
const PROGRESS_QUEUE: usize = 16;
/// How often the removal of a snapshot is tried before its image becomes DELETE_FAILED.
const FREE_ATTEMPTS: u32 = 5;
/// Time between those attempts.
const FREE_PAUSE: Duration = Duration::from_secs(1);

/// Waits until the host may begin another build of this account.
pub(super) fn wait_for_place(shared: Arc<Shared>, account: AccountId, tier: MemoryTier) -> Work {
    Box::pin(async move { Outcome::Place(shared.ledger.build_place(account, tier).await) })
}

pub(super) fn build(shared: Arc<Shared>, build: Build, spec: ImageSpec) -> Work {
    Box::pin(async move {
        let request = BuildSpec {
            id: build.id,
            image: build.image.clone(),
            version: build.version,
            spec,
        };
        let (progress, news) = mpsc::channel(PROGRESS_QUEUE);
        let deadline = shared.clock.now().after(shared.policy.build_deadline);
        let result = tokio::select! {
            result = shared.host.build(request, progress) => result,
            () = shared.clock.sleep_until(deadline) => {
                until_done("ending a build", || shared.host.discard_build(build.id)).await;
                let reason = REASON_TIMED_OUT.to_owned();
                Err(BuildFailure { reason, sizes: BuildSizes::default() })
            }
            () = log(&build, news) => std::future::pending().await,
        };
        Outcome::Built(Box::new(build), result)
    })
}

async fn log(build: &Build, mut news: mpsc::Receiver<BuildEvent>) {
    while let Some(event) = news.recv().await {
        debug!(id = %build.id, ?event, "build progress");
    }
    std::future::pending::<()>().await;
}

pub(super) fn free(shared: Arc<Shared>, templates: Vec<Template>) -> Work {
    Box::pin(async move {
        for template in templates {
            if !free_one(&shared, &template.snapshot).await {
                return Outcome::NotFreed;
            }
        }
        Outcome::Freed
    })
}

async fn free_one(shared: &Shared, snapshot: &SnapshotRef) -> bool {
    for _ in 0..FREE_ATTEMPTS {
        match shared.host.free_snapshot(snapshot).await {
            Ok(()) => return true,
            Err(error) => warn!(%error, ?snapshot, "removing a snapshot failed"),
        }
        tokio::time::sleep(FREE_PAUSE).await;
    }
    false
}
