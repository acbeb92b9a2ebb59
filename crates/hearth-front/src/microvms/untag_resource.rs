//! `UntagResource`: removes tags from an image or a network connector.

use super::identifiers::tagged_arn;
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda_microvms::UntagResourceInput;

pub(super) async fn perform(context: &Context<'_>, input: UntagResourceInput) -> Result<(), Fault> {
    let arn = tagged_arn(context, &input.resource)?;
    let done = context
        .control
        .untag(context.scope(), &arn, &input.tag_keys)
        .await;
    done.map_err(|error| context.refused(error))?;
    Ok(())
}
