//! `GetFunctionRecursionConfig`: whether a function may call itself in a circle.

use super::names::unqualified;
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda::{
    GetFunctionRecursionConfigInput, GetFunctionRecursionConfigOutput, RecursiveLoop,
};

pub(super) async fn perform(
    context: &Context<'_>,
    input: GetFunctionRecursionConfigInput,
) -> Result<GetFunctionRecursionConfigOutput, Fault> {
    let name = unqualified(context, &input.function_name)?;
    let is_allowed = context
        .store(move |store, owner| store.is_recursion_allowed(owner, &name))
        .await?;
    let recursive_loop = match is_allowed {
        true => RecursiveLoop::Allow,
        false => RecursiveLoop::Terminate,
    };
    Ok(GetFunctionRecursionConfigOutput {
        recursive_loop: Some(recursive_loop),
    })
}
