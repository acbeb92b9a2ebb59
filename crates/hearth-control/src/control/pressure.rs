//! Makes room on a host whose memory is short, by suspends like any other.
//!
//! The host knows which instances hold more than they were promised and tells that again as long as its memory is short
//! ([`crate::host::HostEvent::MemoryShort`]). Which of them may sleep is known here: idle policies and the last activity.
//! One is suspended for one event. What is told while that is under way is old by its end, so it is passed over: only a host
//! whose memory is still short afterwards tells it again, and the next one sleeps.

use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use super::Shared;
use super::owner::Handle;
use crate::id::MicrovmId;
use crate::instance::InstanceId;
use crate::life::Phase;

/// Longest wait for one suspend before the next event counts: a slow disk holds up one suspend and not all relief.
const SUSPEND_LIMIT: Duration = Duration::from_secs(60);

/// Suspends one of these, unless another one is on its way.
pub(super) fn relieve(shared: &Arc<Shared>, beyond: Vec<InstanceId>) {
    let Ok(turn) = Arc::clone(&shared.relief).try_lock_owned() else {
        return;
    };
    let relief = suspend_one(Arc::clone(shared), beyond);
    shared.tasks.spawn(async move {
        relief.await;
        drop(turn);
    });
}

/// The one that has been idle for longest, of those that may.
async fn suspend_one(shared: Arc<Shared>, beyond: Vec<InstanceId>) {
    let mut running: Vec<_> = beyond
        .into_iter()
        .filter_map(|InstanceId::Microvm(id)| Some((id, shared.microvms.get(id)?)))
        .filter(|(_, owner)| owner.view().borrow().life.phase == Phase::Running)
        .collect();
    running.sort_by_key(|(_, owner)| owner.idle_since());
    for (id, owner) in running {
        match owner.give_way().await {
            Some(Ok(true)) => {
                info!(%id, "suspended, as memory is short and it holds more than its baseline");
                shared.metrics.pressure_suspends.increment();
                settled(&shared, &owner, id).await;
                return;
            }
            // It may not, or has just ended.
            Some(Ok(false)) | None => {}
            Some(Err(error)) => warn!(%id, %error, "not suspended, though memory is short"),
        }
    }
}

async fn settled(shared: &Shared, owner: &Handle, id: MicrovmId) {
    let mut view = owner.view();
    let is_over =
        view.wait_for(|microvm| !matches!(microvm.life.phase, Phase::SuspendHook | Phase::Saving));
    let limit = shared.clock.now().after(SUSPEND_LIMIT);
    tokio::select! {
        // Its owner may have ended: that is over, too.
        _ = is_over => {}
        () = shared.clock.sleep_until(limit) => {
            warn!(%id, "its suspend takes long, though memory is short");
        }
    }
}
