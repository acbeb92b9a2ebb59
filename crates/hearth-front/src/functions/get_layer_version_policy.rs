//! `GetLayerVersionPolicy`: which other accounts may use a version of a layer.

use super::layer_names::{number, own_layer};
use super::statements::document;
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda::{GetLayerVersionPolicyInput, GetLayerVersionPolicyOutput};

pub(super) async fn perform(
    context: &Context<'_>,
    input: GetLayerVersionPolicyInput,
) -> Result<GetLayerVersionPolicyOutput, Fault> {
    let name = own_layer(context, &input.layer_name)?;
    let version = number(input.version_number)?;
    let found = context.store(move |store, owner| store.layer_policy(owner, &name, version));
    let policy = found.await?;
    Ok(GetLayerVersionPolicyOutput {
        policy: Some(document(&policy)),
        revision_id: Some(policy.revision_id),
    })
}
