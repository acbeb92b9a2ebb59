//! `GetPolicy`: the policy of a function, a version or an alias.

use super::names::named;
use super::statements::document;
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda::{GetPolicyInput, GetPolicyOutput};

pub(super) async fn perform(
    context: &Context<'_>,
    input: GetPolicyInput,
) -> Result<GetPolicyOutput, Fault> {
    let named = named(context, &input.function_name, input.qualifier.as_deref())?;
    let found = context
        .store(move |store, owner| store.policy(owner, &named.name, named.qualifier.as_ref()));
    let policy = found.await?;
    Ok(GetPolicyOutput {
        policy: Some(document(&policy)),
        revision_id: Some(policy.revision_id),
    })
}
