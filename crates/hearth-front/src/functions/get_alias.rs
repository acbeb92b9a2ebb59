//! `GetAlias`.

use super::names::unqualified;
use super::shape;
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda::{GetAliasInput, GetAliasOutput};

pub(super) async fn perform(
    context: &Context<'_>,
    input: GetAliasInput,
) -> Result<GetAliasOutput, Fault> {
    let function = unqualified(context, &input.function_name)?;
    let found = context.store(move |store, owner| store.alias(owner, &function, &input.name));
    found.await.map(shape::alias)
}
