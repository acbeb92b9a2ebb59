//! `UpdateMicrovmImage`: replaces the specification of an image and starts the build of its next version.

use hearth_control::image::UpdateImage;

use super::identifiers::image_arn;
use super::image_spec::image_spec;
use super::shape;
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda_microvms::{UpdateMicrovmImageInput, UpdateMicrovmImageOutput};

pub(super) async fn perform(
    context: &Context<'_>,
    input: UpdateMicrovmImageInput,
) -> Result<UpdateMicrovmImageOutput, Fault> {
    let update = UpdateImage {
        arn: image_arn(context, &input.image_identifier)?,
        spec: image_spec(input.image_specification)?,
        client_token: context.request_token(input.client_token),
    };
    let made = context.control.update_image(context.scope(), update).await;
    let made = made.map_err(|error| context.refused(error))?;
    Ok(shape::updated(&made))
}
