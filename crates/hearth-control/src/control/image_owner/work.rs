//! The work of an image's owner on the host.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tracing::{debug, warn};

use super::Outcome;
use crate::control::Shared;
use crate::control::retry::until_done;
use crate::host::{BuildEvent, BuildFailure, BuildSpec, SnapshotRef, Template};
use crate::id::BuildId;
use crate::image::{Build, BuildSizes, ImageSpec};
use crate::machine::build::REASON_TIMED_OUT;

/// One piece of work under way. Dropping it cancels it.
pub(super) type Work = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// Progress events that may wait to be logged. The host does not wait: it drops events when the queue is full.
const PROGRESS_QUEUE: usize = 16;
/// How often the removal of a snapshot is tried before its image becomes DELETE_FAILED.
const FREE_ATTEMPTS: u32 = 5;
/// Time between those attempts.
const FREE_PAUSE: Duration = Duration::from_secs(1);

/// Waits until the host may begin this build. The log of the build tells its place among those that wait.
pub(super) fn wait_for_place(shared: Arc<Shared>, build: Build, spec: ImageSpec) -> Work {
    Box::pin(async move {
        let request = request(&build, spec);
        let (account, tier) = (request.image.scope.account, request.spec.tier);
        let (told, mut place) = watch::channel(None);
        let waiting = shared.ledger.build_place(account, tier, told);
        tokio::pin!(waiting);
        loop {
            let waits_at = tokio::select! {
                biased;
                place = &mut waiting => return Outcome::Place(place),
                Ok(()) = place.changed() => *place.borrow_and_update(),
            };
            if let Some(place) = waits_at {
                shared.host.log_waiting(&request, place).await;
            }
        }
    })
}

fn request(build: &Build, spec: ImageSpec) -> BuildSpec {
    BuildSpec {
        id: build.id,
        image: build.image.clone(),
        version: build.version,
        spec,
    }
}

pub(super) fn build(shared: Arc<Shared>, build: Build, spec: ImageSpec) -> Work {
    Box::pin(async move {
        let request = request(&build, spec);
        let (progress, news) = mpsc::channel(PROGRESS_QUEUE);
        let deadline = shared.clock.now().after(shared.policy.build_deadline);
        let result = tokio::select! {
            result = shared.host.build(request, progress) => result,
            () = shared.clock.sleep_until(deadline) => {
                abandon(&shared, build.id).await;
                let reason = REASON_TIMED_OUT.to_owned();
                Err(BuildFailure { reason, sizes: BuildSizes::default() })
            }
            () = log(&build, news) => std::future::pending().await,
        };
        Outcome::Built(Box::new(build), result)
    })
}

/// Ends a build whose work was dropped, and removes everything that it made. A snapshot that it had sealed belongs to no
/// version, and goes too.
pub(super) async fn abandon(shared: &Shared, id: BuildId) {
    until_done("ending a build", || shared.host.discard_build(id)).await;
    let looking = || shared.host.inventory();
    let inventory = until_done("looking for what a build has left", looking).await;
    for (snapshot, maker) in &inventory.snapshots {
        if *maker == id {
            let freeing = || shared.host.free_snapshot(snapshot);
            until_done("removing the snapshot of a build", freeing).await;
        }
    }
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
