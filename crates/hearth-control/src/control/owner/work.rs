//! What an owner has under way on the node, from an operation to the event it ends in.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tracing::warn;

use crate::control::Shared;
use crate::control::retry::until_done;
use crate::hooks::{ActiveHook, Hook, HookFailure, HookOutcome};
use crate::id::MicrovmId;
use crate::machine::microvm::{Event, Operation, Phase};
use crate::microvm::{Microvm, Origin};
use crate::node::{
    ForkError, HookCall, LaunchError, LaunchOrigin, LaunchSpec, NodeError, ResumeError,
    SuspendError,
};
use crate::refusal::{ControlError, Refusal};

/// One operation under way. Dropping it gives it up.
pub(super) type Work = Pin<Box<dyn Future<Output = Event> + Send>>;

/// `stateReason` when the host had no room after all. What AWS says is not known.
const REASON_NO_CAPACITY: &str = "There was not enough capacity to launch the MicroVM.";
/// `stateReason` when the node could not launch. The cause is for the operator's log, not for callers.
const REASON_LAUNCH_FAILED: &str = "The MicroVM could not be launched.";
/// `stateReason` of a fork whose parent could not be sealed for it.
pub(in crate::control) const REASON_FORK_FAILED: &str = "The MicroVM could not be forked.";

/// Time beyond a hook's own timeout for the way to the guest and back, before the node is not waited for.
const HOOK_GRACE: Duration = Duration::from_secs(5);

/// Begins an operation. `child` is the one to seal for.
pub(super) fn begin(
    shared: Arc<Shared>,
    microvm: Microvm,
    operation: Operation,
    child: Option<MicrovmId>,
) -> Work {
    match operation {
        Operation::Fork => Box::pin(fork(shared, microvm)),
        Operation::Seal => Box::pin(seal(shared, microvm, child)),
        Operation::Launch => Box::pin(launch(shared, microvm)),
        Operation::Call(hook) => Box::pin(call(shared, microvm, hook)),
        Operation::Suspend => Box::pin(suspend(shared, microvm)),
        Operation::Resume => Box::pin(resume(shared, microvm)),
        Operation::Remove => Box::pin(remove(shared, microvm)),
    }
}

/// Runs a step of the node within its deadline; `None` when it did not answer.
async fn within<T>(shared: &Shared, step: impl Future<Output = T> + Send) -> Option<T> {
    let deadline = shared.clock.now().after(shared.policy.node_deadline);
    tokio::select! {
        outcome = step => Some(outcome),
        () = shared.clock.sleep_until(deadline) => None,
    }
}

/// The child's side of a fork: asks its parent's owner, in turn with others that do.
async fn fork(shared: Arc<Shared>, microvm: Microvm) -> Event {
    let failed = |cause: &str| {
        warn!(id = %microvm.id, cause, "fork failed");
        Event::LaunchFailed(REASON_FORK_FAILED.to_owned())
    };
    let Origin::Fork { parent } = microvm.origin else {
        return failed("it has no parent");
    };
    loop {
        let Some(owner) = shared.microvms.get(parent) else {
            return failed("its parent has ended");
        };
        let mut view = owner.view();
        match owner.seal(microvm.id).await {
            Some(Ok(())) => return Event::Sealed,
            Some(Err(ControlError::Refused(Refusal::MicrovmBusy(..)))) => {
                let is_sealing =
                    |parent: &Microvm| matches!(parent.life.phase, Phase::Sealing { .. });
                if !is_sealing(&view.borrow()) {
                    return failed("its parent is in the middle of something else");
                }
                // An owner that ended is not found by the next look.
                let _ = view.wait_for(|parent| !is_sealing(parent)).await;
            }
            Some(Err(error)) => return failed(&error.to_string()),
            None => return failed("its parent was not sealed"),
        }
    }
}

/// The parent's side of a fork.
async fn seal(shared: Arc<Shared>, microvm: Microvm, child: Option<MicrovmId>) -> Event {
    // Only a child asks for it, and a restart does not keep the phase.
    let Some(child) = child else {
        return Event::SealFailed;
    };
    match within(&shared, shared.node.fork(microvm.id, child)).await {
        Some(Ok(sealed)) => {
            if let Some(paused) = sealed.paused {
                shared.metrics.fork_pause.observe(paused);
            }
            Event::Sealed
        }
        Some(Err(ForkError::Unchanged(cause))) => {
            warn!(id = %microvm.id, %child, cause, "fork failed");
            Event::SealFailed
        }
        Some(Err(ForkError::Lost(cause))) => {
            warn!(id = %microvm.id, %child, cause, "lost in fork");
            Event::Lost
        }
        None => {
            warn!(id = %microvm.id, %child, "fork did not end in time");
            Event::SealFailed
        }
    }
}

/// What a launch begins from; `None` when there is no such thing any more.
async fn origin(shared: &Shared, microvm: &Microvm) -> Option<LaunchOrigin> {
    match microvm.origin {
        Origin::Fork { .. } => Some(LaunchOrigin::Fork),
        Origin::Version => {
            let read = || shared.store.version(&microvm.image, microvm.version);
            let version = until_done("reading a version", read).await;
            version?.snapshot.map(LaunchOrigin::Version)
        }
    }
}

async fn launch(shared: Arc<Shared>, microvm: Microvm) -> Event {
    let Some(origin) = origin(&shared, &microvm).await else {
        return Event::LaunchFailed(REASON_LAUNCH_FAILED.to_owned());
    };
    let spec = LaunchSpec {
        id: microvm.id,
        origin,
        image: microvm.image,
        version: microvm.version,
        endpoint_id: microvm.endpoint_id,
        tier: microvm.tier,
        execution_role_arn: microvm.execution_role_arn,
        ingress: microvm.ingress,
        egress: microvm.egress,
        logging: microvm.logging,
        started_at: microvm.started_at,
    };
    match within(&shared, shared.node.launch(spec)).await {
        Some(Ok(())) => Event::Launched,
        Some(Err(LaunchError::NoCapacity)) => Event::LaunchFailed(REASON_NO_CAPACITY.to_owned()),
        Some(Err(LaunchError::Failed(cause))) => {
            warn!(id = %microvm.id, cause, "launch failed");
            Event::LaunchFailed(REASON_LAUNCH_FAILED.to_owned())
        }
        None => {
            warn!(id = %microvm.id, "launch did not end in time");
            Event::LaunchFailed(REASON_LAUNCH_FAILED.to_owned())
        }
    }
}

async fn call(shared: Arc<Shared>, microvm: Microvm, hook: Hook) -> Event {
    let Some(active) = microvm.hooks.as_ref().and_then(|hooks| hooks.active(hook)) else {
        // The machine asks only for hooks that are enabled.
        return Event::HookDone;
    };
    let timeout = active.timeout * shared.policy.hook_timeout_scale;
    let payload = if hook == Hook::Run {
        microvm.run_hook_payload
    } else {
        None
    };
    let call = HookCall {
        hook: ActiveHook { timeout, ..active },
        payload,
    };
    let patience = shared.clock.now().after(timeout + HOOK_GRACE);
    let outcome = tokio::select! {
        outcome = shared.node.call_hook(microvm.id, call) => outcome,
        () = shared.clock.sleep_until(patience) => HookOutcome::TimedOut,
    };
    match outcome {
        HookOutcome::Done => Event::HookDone,
        outcome => Event::HookFailed(HookFailure { hook, outcome }),
    }
}

async fn suspend(shared: Arc<Shared>, microvm: Microvm) -> Event {
    match within(&shared, shared.node.suspend(microvm.id)).await {
        Some(Ok(())) => Event::Saved,
        Some(Err(SuspendError::StillRunning(cause))) => {
            warn!(id = %microvm.id, cause, "suspend failed");
            Event::SaveFailed
        }
        Some(Err(SuspendError::Lost(cause))) => {
            warn!(id = %microvm.id, cause, "lost in suspend");
            Event::Lost
        }
        // It may have been saved or not: whoever asks the node next finds out, and nothing is lost meanwhile.
        None => {
            warn!(id = %microvm.id, "suspend did not end in time");
            Event::SaveFailed
        }
    }
}

async fn resume(shared: Arc<Shared>, microvm: Microvm) -> Event {
    match within(&shared, shared.node.resume(&microvm)).await {
        Some(Ok(())) => Event::Restored,
        Some(Err(ResumeError::StillSuspended(cause))) => {
            warn!(id = %microvm.id, cause, "resume failed");
            Event::RestoreFailed
        }
        Some(Err(ResumeError::Lost(cause))) => {
            warn!(id = %microvm.id, cause, "lost in resume");
            Event::Lost
        }
        None => {
            warn!(id = %microvm.id, "resume did not end in time");
            Event::RestoreFailed
        }
    }
}

/// Removal ends in one way only. A node that does not answer is asked again.
async fn remove(shared: Arc<Shared>, microvm: Microvm) -> Event {
    until_done("removing a microVM", || async {
        let late = || NodeError("no answer in time".to_owned());
        within(&shared, shared.node.terminate(microvm.id))
            .await
            .unwrap_or_else(|| Err(late()))
    })
    .await;
    Event::Removed
}
