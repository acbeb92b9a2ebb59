//! `GetMicrovmImage`: returns an image with its tags. Its specification is on its versions.

use super::identifiers::image_arn;
use super::shape;
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda_microvms::{GetMicrovmImageInput, GetMicrovmImageOutput};

pub(super) async fn perform(
    context: &Context<'_>,
    input: GetMicrovmImageInput,
) -> Result<GetMicrovmImageOutput, Fault> {
    let arn = image_arn(context, &input.image_identifier)?;
    let found = context.control.image(context.scope(), &arn).await;
    let found = found.map_err(|error| context.refused(error))?;
    Ok(shape::image(&found))
}
