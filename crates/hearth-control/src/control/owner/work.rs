//! The work of an owner on the host: each operation ends in one event of the state machine.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tracing::warn;

use crate::control::retry::until_done;
use crate::control::{Shared, instances};
use crate::guest_call::CallOutcome;
use crate::hooks::{ActiveHook, Hook, HookFailure};
use crate::host::{Done, HostOperation, LaunchOrigin, OperationFailure, OperationId};
use crate::id::MicrovmId;
use crate::life::{Operation, Origin, Phase};
use crate::machine::microvm::Event;
use crate::microvm::Microvm;
use crate::refusal::{ControlError, Refusal};

/// One operation under way. Dropping it cancels it.
pub(super) type Work = Pin<Box<dyn Future<Output = Event> + Send>>;

/// `stateReason` if the host had no room after all. The text of AWS is not known.
const REASON_NO_CAPACITY: &str = "There was not enough capacity to launch the MicroVM.";
/// `stateReason` if the host could not launch. The cause is in the operator's log, not for callers.
const REASON_LAUNCH_FAILED: &str = "The MicroVM could not be launched.";
/// `stateReason` of a suspended microVM that could not be resumed for lack of capacity.
const REASON_NO_ROOM_TO_RESUME: &str =
    "The MicroVM could not be resumed and stays suspended: there was not enough capacity.";
/// `stateReason` of a suspended microVM that the host could not resume. The cause is for the operator's log.
const REASON_RESUME_FAILED: &str = "The MicroVM could not be resumed and stays suspended.";
/// `stateReason` of a fork whose parent could not be sealed for it.
pub(in crate::control) const REASON_FORK_FAILED: &str = "The MicroVM could not be forked.";

/// Starts an operation. `child` is the microVM to seal for.
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

/// Performs an operation on the instance of a microVM.
async fn perform(
    shared: &Shared,
    microvm: &Microvm,
    operation: HostOperation,
) -> Result<Done, OperationFailure> {
    let id = OperationId {
        instance: microvm.id.into(),
        generation: microvm.generation,
    };
    instances::perform(shared, id, operation).await
}

/// The child's side of a fork: asks the parent's owner for a layer, after other children.
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
                // An owner that has ended is not found by the next look-up.
                let _ = view.wait_for(|parent| !is_sealing(parent)).await;
            }
            Some(Err(error)) => return failed(&error.to_string()),
            None => return failed("its parent was not sealed"),
        }
    }
}

/// The parent's side of a fork.
async fn seal(shared: Arc<Shared>, microvm: Microvm, child: Option<MicrovmId>) -> Event {
    // Only a child's request leads here, and a restart does not keep the phase.
    let Some(child) = child else {
        return Event::SealFailed;
    };
    match perform(
        &shared,
        &microvm,
        HostOperation::Seal {
            child: child.into(),
        },
    )
    .await
    {
        Ok(done) => {
            if let Some(paused) = done.paused {
                shared.metrics.fork_pause.observe(paused);
            }
            Event::Sealed
        }
        Err(failure) => {
            warn!(id = %microvm.id, %child, %failure, "fork failed");
            after_failure(failure, Event::SealFailed)
        }
    }
}

/// The event after a failure on an existing instance: it is unchanged, damaged or lost.
fn after_failure(failure: OperationFailure, unchanged: Event) -> Event {
    match failure {
        OperationFailure::Lost(_) => Event::Lost,
        OperationFailure::Damaged(what) => Event::Damaged(what),
        // The removal that overtook the operation decides what comes next.
        OperationFailure::NoCapacity
        | OperationFailure::Unchanged(_)
        | OperationFailure::Overtaken => unchanged,
    }
}

/// What a launch begins from. `None` if the version or its template no longer exists.
async fn origin(shared: &Shared, microvm: &Microvm) -> Option<LaunchOrigin> {
    match microvm.origin {
        Origin::Fork { .. } => Some(LaunchOrigin::Fork),
        Origin::Version => {
            let read = || shared.store.version(&microvm.image, microvm.version);
            let version = until_done("reading a version", read).await;
            version?.template.map(LaunchOrigin::Template)
        }
    }
}

async fn launch(shared: Arc<Shared>, microvm: Microvm) -> Event {
    let Some(origin) = origin(&shared, &microvm).await else {
        return Event::LaunchFailed(REASON_LAUNCH_FAILED.to_owned());
    };
    let operation = HostOperation::Launch(Box::new(microvm.instance()), origin);
    match perform(&shared, &microvm, operation).await {
        Ok(done) => {
            note_start(&shared, &microvm, done);
            Event::Launched
        }
        Err(OperationFailure::NoCapacity) => Event::LaunchFailed(REASON_NO_CAPACITY.to_owned()),
        Err(failure) => {
            warn!(id = %microvm.id, %failure, "launch failed");
            Event::LaunchFailed(REASON_LAUNCH_FAILED.to_owned())
        }
    }
}

fn note_start(shared: &Shared, microvm: &Microvm, done: Done) {
    if let Some(owner) = shared.microvms.get(microvm.id) {
        owner.start().hosted(done.steps);
    }
}

async fn call(shared: Arc<Shared>, microvm: Microvm, hook: Hook) -> Event {
    let Some(active) = microvm
        .terms
        .hooks
        .as_ref()
        .and_then(|hooks| hooks.active(hook))
    else {
        // The state machine asks only for hooks that are enabled.
        return Event::HookDone;
    };
    let timeout = active.timeout * shared.policy.hook_timeout_scale;
    // Only `/run` has a body (facts section 7).
    let body = (hook == Hook::Run).then(|| microvm.terms.run_input.body(microvm.id));
    let call = ActiveHook { timeout, ..active }.call(body);
    let outcome = instances::call(&shared, microvm.id.into(), call).await;
    match outcome {
        CallOutcome::Done => Event::HookDone,
        outcome => Event::HookFailed(HookFailure { hook, outcome }),
    }
}

async fn suspend(shared: Arc<Shared>, microvm: Microvm) -> Event {
    let operation = HostOperation::Suspend(Box::new(microvm.instance()));
    match perform(&shared, &microvm, operation).await {
        Ok(_) => Event::Saved,
        Err(failure) => {
            warn!(id = %microvm.id, %failure, "suspend failed");
            after_failure(failure, Event::SaveFailed)
        }
    }
}

async fn resume(shared: Arc<Shared>, microvm: Microvm) -> Event {
    let operation = HostOperation::Resume(Box::new(microvm.instance()));
    match perform(&shared, &microvm, operation).await {
        Ok(done) => {
            note_start(&shared, &microvm, done);
            Event::Restored
        }
        Err(failure) => {
            warn!(id = %microvm.id, %failure, "resume failed");
            let reason = match failure {
                OperationFailure::NoCapacity => REASON_NO_ROOM_TO_RESUME,
                _ => REASON_RESUME_FAILED,
            };
            after_failure(failure, Event::RestoreFailed(reason.to_owned()))
        }
    }
}

/// Removes the instance. Removal has no other end: one that failed is submitted anew, under an id of its own.
async fn remove(shared: Arc<Shared>, microvm: Microvm) -> Event {
    let removed = perform(&shared, &microvm, HostOperation::Remove).await;
    if let Err(failure) = removed {
        warn!(id = %microvm.id, %failure, "removal failed and will be repeated");
        until_done("removing a microVM", || {
            shared.host.discard(microvm.id.into())
        })
        .await;
    }
    Event::Removed
}
