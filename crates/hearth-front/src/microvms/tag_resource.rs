//! `TagResource`: adds or replaces tags of an image or a network connector.

use super::identifiers::tagged_arn;
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda_microvms::TagResourceInput;

pub(super) async fn perform(context: &Context<'_>, input: TagResourceInput) -> Result<(), Fault> {
    let arn = tagged_arn(context, &input.resource)?;
    let done = context.control.tag(context.scope(), &arn, input.tags).await;
    done.map_err(|error| context.refused(error))?;
    Ok(())
}
