//! `PutFunctionRecursionConfig`: sets whether a function may call itself in a circle.

use super::names::unqualified;
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda::{
    PutFunctionRecursionConfigInput, PutFunctionRecursionConfigOutput, RecursiveLoop,
};

pub(super) async fn perform(
    context: &Context<'_>,
    input: PutFunctionRecursionConfigInput,
) -> Result<PutFunctionRecursionConfigOutput, Fault> {
    let name = unqualified(context, &input.function_name)?;
    let is_allowed = input.recursive_loop == RecursiveLoop::Allow;
    context
        .store(move |store, owner| store.set_recursion(owner, &name, is_allowed))
        .await?;
    Ok(PutFunctionRecursionConfigOutput {
        recursive_loop: Some(input.recursive_loop),
    })
}
