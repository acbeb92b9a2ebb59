//! `ListTags`: lists the tags of an image or a network connector.

use super::identifiers::tagged_arn;
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda_microvms::{ListTagsInput, ListTagsOutput};

pub(super) async fn perform(
    context: &Context<'_>,
    input: ListTagsInput,
) -> Result<ListTagsOutput, Fault> {
    let arn = tagged_arn(context, &input.resource)?;
    let tags = context.control.tags(context.scope(), &arn).await;
    let tags = tags.map_err(|error| context.refused(error))?;
    Ok(ListTagsOutput { tags: Some(tags) })
}
