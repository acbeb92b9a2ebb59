//! `GetFunctionConfiguration`: a function, a version or an alias.

use super::names::named;
use super::shape;
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda::{GetFunctionConfigurationInput, GetFunctionConfigurationOutput};

pub(super) async fn perform(
    context: &Context<'_>,
    input: GetFunctionConfigurationInput,
) -> Result<GetFunctionConfigurationOutput, Fault> {
    let named = named(context, &input.function_name, input.qualifier.as_deref())?;
    let qualifier = named.qualifier.clone();
    let found = context
        .store(move |store, owner| store.version(owner, &named.name, named.qualifier.as_ref()));
    Ok(shape::as_named(context, &found.await?, qualifier.as_ref()))
}
