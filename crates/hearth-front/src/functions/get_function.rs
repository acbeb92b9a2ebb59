//! `GetFunction`: a function, a version or an alias, with the address of its code.

use super::code_location::location;
use super::names::named;
use super::shape;
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda::{
    Concurrency, FunctionCodeLocation, GetFunctionInput, GetFunctionOutput,
};

pub(super) async fn perform(
    context: &Context<'_>,
    input: GetFunctionInput,
) -> Result<GetFunctionOutput, Fault> {
    let named = named(context, &input.function_name, input.qualifier.as_deref())?;
    let qualifier = named.qualifier.clone();
    let found = context.store(move |store, owner| {
        let version = store.version(owner, &named.name, named.qualifier.as_ref())?;
        let settings = store.function_settings(owner, &named.name)?;
        Ok((version, settings))
    });
    let (version, settings) = found.await?;
    let location = location(context, &context.owner(), &version.code_sha256)?;
    Ok(GetFunctionOutput {
        code: Some(FunctionCodeLocation {
            location: Some(location),
            repository_type: Some("S3".to_owned()),
        }),
        concurrency: settings.reserved.map(|reserved| Concurrency {
            reserved_concurrent_executions: Some(reserved.into()),
        }),
        configuration: Some(shape::as_named(context, &version, qualifier.as_ref())),
        tags: (!settings.tags.is_empty()).then_some(settings.tags),
    })
}
