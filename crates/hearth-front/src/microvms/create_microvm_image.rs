//! `CreateMicrovmImage`: creates an image and starts the build of its first version.

use hearth_control::id::ImageName;
use hearth_control::image::CreateImage;

use super::image_spec::image_spec;
use super::shape;
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda_microvms::{CreateMicrovmImageInput, CreateMicrovmImageOutput};

pub(super) async fn perform(
    context: &Context<'_>,
    input: CreateMicrovmImageInput,
) -> Result<CreateMicrovmImageOutput, Fault> {
    let name: ImageName = input.name.parse().map_err(|_| Fault::unparseable())?;
    let create = CreateImage {
        name,
        spec: image_spec(input.image_specification)?,
        tags: input.tags.clone().unwrap_or_default(),
        client_token: context.request_token(input.client_token),
    };
    let made = context.control.create_image(context.scope(), create).await;
    let made = made.map_err(|error| context.refused(error))?;
    Ok(shape::created(&made, input.tags))
}
