//! Requests of controllers to the host: perform an operation, however long it takes, and call the application.
//!
//! Nothing here knows what an instance is for. Owners of microVMs turn the outcomes into events of their state
//! machine (`owner/work.rs`).

use std::time::Duration;

use tracing::warn;

use super::Shared;
use super::retry::until_done;
use crate::guest_call::{CallOutcome, GuestCall};
use crate::host::{Done, HostOperation, OperationFailure, OperationId, Outcome};
use crate::instance::InstanceId;

/// How long after a call's own timeout the host may still answer: the way to the guest and back.
const CALL_GRACE: Duration = Duration::from_secs(5);

/// Performs an operation, however long it takes: a slow operation is not a failed one. Submits the operation again if
/// the host does not know it, as after a restart of the host.
pub(super) async fn perform(
    shared: &Shared,
    id: OperationId,
    operation: HostOperation,
) -> Result<Done, OperationFailure> {
    loop {
        let submit = || shared.host.submit(id, operation.clone());
        until_done("submitting a host operation", submit).await;
        loop {
            let ask = || shared.host.outcome(id);
            match until_done("asking for a host operation", ask).await {
                Outcome::Busy => {}
                Outcome::Done(done) => return Ok(done),
                Outcome::Failed(failure) => return Err(failure),
                Outcome::Unknown => break,
            }
        }
        warn!(%id.instance, "the host has restarted and does not know the operation; submitting it again");
    }
}

/// Calls the application once. A host that does not answer in time counts as an application that does not.
pub(super) async fn call(shared: &Shared, id: InstanceId, call: GuestCall) -> CallOutcome {
    let patience = shared.clock.now().after(call.timeout + CALL_GRACE);
    tokio::select! {
        outcome = shared.host.call(id, call) => outcome,
        () = shared.clock.sleep_until(patience) => CallOutcome::TimedOut,
    }
}
