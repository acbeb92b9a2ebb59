//! `DeleteAlias`. Succeeds if it does not exist.

use super::names::unqualified;
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda::DeleteAliasInput;

pub(super) async fn perform(context: &Context<'_>, input: DeleteAliasInput) -> Result<(), Fault> {
    let function = unqualified(context, &input.function_name)?;
    context
        .store(move |store, owner| store.delete_alias(owner, &function, &input.name))
        .await
}
