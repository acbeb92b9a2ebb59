//! What every controller asks of its instance's host: an operation that is done however long it takes, and a call of the application.
//!
//! Nothing here knows what an instance is for. Owners of microVMs turn the outcomes into events of their machine
//! (`owner/work.rs`).

use std::time::Duration;

use tracing::warn;

use super::Shared;
use super::retry::until_done;
use crate::guest_call::{CallOutcome, GuestCall};
use crate::host::{Done, Failure, HostOperation, OperationId, Outcome};
use crate::instance::InstanceId;

/// Time beyond a call's own timeout for the way to the guest and back, before the host is not waited for.
const CALL_GRACE: Duration = Duration::from_secs(5);

/// Has an operation done, however long it takes: late is not failed. What the host does not know (any more) is submitted again.
pub(super) async fn perform(
    shared: &Shared,
    id: OperationId,
    operation: HostOperation,
) -> Result<Done, Failure> {
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
        warn!(%id.instance, "the host was started anew; its operation is submitted again");
    }
}

/// Calls an application once. A host that does not answer counts as an application that does not.
pub(super) async fn call(shared: &Shared, id: InstanceId, call: GuestCall) -> CallOutcome {
    let patience = shared.clock.now().after(call.timeout + CALL_GRACE);
    tokio::select! {
        outcome = shared.host.call(id, call) => outcome,
        () = shared.clock.sleep_until(patience) => CallOutcome::TimedOut,
    }
}
