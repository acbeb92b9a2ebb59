//! `DeleteMicrovmImage`: starts to delete an image. Its name stays taken until it is gone.

use super::identifiers::image_arn;
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda_microvms::{DeleteMicrovmImageInput, DeleteMicrovmImageOutput};

pub(super) async fn perform(
    context: &Context<'_>,
    input: DeleteMicrovmImageInput,
) -> Result<DeleteMicrovmImageOutput, Fault> {
    let arn = image_arn(context, &input.image_identifier)?;
    let image = context.control.delete_image(context.scope(), &arn).await;
    let image = image.map_err(|error| context.refused(error))?;
    Ok(DeleteMicrovmImageOutput {
        image_identifier: image.arn.to_string(),
        state: image.state.into(),
    })
}
