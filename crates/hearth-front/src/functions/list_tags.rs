//! `ListTags`: the tags of a function.

use super::tagged::tagged;
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda::{ListTagsInput, ListTagsOutput};

pub(super) async fn perform(
    context: &Context<'_>,
    input: ListTagsInput,
) -> Result<ListTagsOutput, Fault> {
    let name = tagged(context, &input.resource)?;
    let found = context.store(move |store, owner| store.function_settings(owner, &name));
    Ok(ListTagsOutput {
        tags: Some(found.await?.tags),
    })
}
