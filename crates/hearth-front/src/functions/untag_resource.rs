//! `UntagResource`: removes tags of a function. Succeeds for those that it does not have.

use super::tagged::tagged;
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda::UntagResourceInput;

pub(super) async fn perform(context: &Context<'_>, input: UntagResourceInput) -> Result<(), Fault> {
    let name = tagged(context, &input.resource)?;
    context
        .store(move |store, owner| store.untag(owner, &name, input.tag_keys))
        .await
}
