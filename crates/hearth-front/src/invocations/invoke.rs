//! `Invoke`: runs a function and waits for its answer, stores an event, or checks whether it could run.

use hearth_invoke::{EventRequest, EventTarget, SubmitError, Throttle};

use super::invoking::{Invocations, Invoking};
use super::named::{Named, Runnable};
use super::outcome::{answered, refusal};
use super::request::{InvocationType, Request};
use crate::call::Call;
use crate::fault::Fault;
use crate::function_service::FunctionService;
use crate::wire::{Reply, reply};

/// The types of an invocation, with the default first.
const TYPES: &[InvocationType] = &[
    InvocationType::RequestResponse,
    InvocationType::Event,
    InvocationType::DryRun,
];

pub(super) async fn perform(
    functions: &FunctionService,
    invocations: &Invocations,
    mut call: Call,
) -> Result<Reply, Fault> {
    let named = Named::read(&call)?;
    named.authorize(&call, Invoking::Invoke)?;
    let request = Request::read(&mut call, TYPES)?;
    let runnable = named.resolve(functions, request.tenant.clone()).await?;
    match request.invocation_type {
        InvocationType::DryRun => Ok(reply(204, "application/json", "")),
        InvocationType::Event => {
            submit(invocations, &named, runnable, request, call.request_id).await?;
            Ok(reply(202, "application/json", ""))
        }
        InvocationType::RequestResponse => {
            let Runnable {
                version,
                invoked_arn,
            } = runnable;
            let trace_id = request.trace_id.clone();
            let invocation = request.invocation(call.request_id, invoked_arn);
            let answer = invocations.invoker.invoke(&version, invocation).await;
            let answer = answer.map_err(refusal)?;
            Ok(answered(answer, &version.spec.version, &trace_id))
        }
    }
}

/// Stores an event. It will be tried when this returns.
pub(super) async fn submit(
    invocations: &Invocations,
    named: &Named,
    runnable: Runnable,
    request: Request,
    request_id: String,
) -> Result<(), Fault> {
    let target = EventTarget {
        account: named.owner.account.clone(),
        region: named.owner.region.clone(),
        function_name: named.name.clone(),
        qualifier: named.qualifier.as_ref().map(ToString::to_string),
        tenant: request.tenant.clone(),
    };
    let invocation = request.invocation(request_id, runnable.invoked_arn);
    let event = EventRequest {
        target,
        invoked_arn: invocation.invoked_arn,
        request_id: invocation.request_id,
        trace_id: invocation.trace_id,
        payload: invocation.payload,
    };
    let submitted = invocations.events.submit(event).await;
    submitted.map_err(|error| match error {
        SubmitError::Full => refusal(hearth_invoke::InvokeError::Throttled(Throttle::Rate)),
        SubmitError::Store(text) => refusal(hearth_invoke::InvokeError::Broken(text)),
    })
}
