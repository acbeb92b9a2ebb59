//! `PutFunctionEventInvokeConfig`: replaces the settings of asynchronous invocations.

use hearth_functions::{EventInvokeSettings, EventInvokeWrite, FunctionError};

use super::names::{invalid, named, not_found};
use super::service::now_ms;
use super::shape;
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda::{PutFunctionEventInvokeConfigInput, PutFunctionEventInvokeConfigOutput};

pub(super) async fn perform(
    context: &Context<'_>,
    input: PutFunctionEventInvokeConfigInput,
) -> Result<PutFunctionEventInvokeConfigOutput, Fault> {
    let named = named(context, &input.function_name, input.qualifier.as_deref())?;
    let settings = EventInvokeSettings {
        retries: input.maximum_retry_attempts,
        max_age_s: input.maximum_event_age_in_seconds,
    };
    if settings == EventInvokeSettings::default() {
        return Err(invalid(
            "You must specify at least one of error handling or destination setting.",
        ));
    }
    let write = EventInvokeWrite::Replace(settings);
    let written = context.store(move |store, owner| {
        let qualifier = named.qualifier.as_ref();
        let written = store.write_event_invoke(owner, &named.name, qualifier, write, now_ms());
        match written {
            Err(FunctionError::NoFunction(_)) => Ok(None),
            other => other.map(Some),
        }
    });
    let written = written.await?;
    let written = written.ok_or_else(|| not_found("The function doesn't exist."))?;
    Ok(shape::event_invoke(written))
}
