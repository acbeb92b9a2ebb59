//! `UpdateFunctionEventInvokeConfig`: changes what the request has of the settings of asynchronous invocations.

use hearth_functions::{EventInvokeSettings, EventInvokeWrite};

use super::names::{invalid, named};
use super::service::now_ms;
use super::shape;
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda::{
    UpdateFunctionEventInvokeConfigInput, UpdateFunctionEventInvokeConfigOutput,
};

pub(super) async fn perform(
    context: &Context<'_>,
    input: UpdateFunctionEventInvokeConfigInput,
) -> Result<UpdateFunctionEventInvokeConfigOutput, Fault> {
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
    let write = EventInvokeWrite::Complete(settings);
    let written = context.store(move |store, owner| {
        let qualifier = named.qualifier.as_ref();
        store.write_event_invoke(owner, &named.name, qualifier, write, now_ms())
    });
    written.await.map(shape::event_invoke)
}
