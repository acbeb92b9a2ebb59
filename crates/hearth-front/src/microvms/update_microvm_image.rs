//! `UpdateMicrovmImage`: replaces everything that was said of it and begins to build the next version.

use hearth_control::image::{ClientToken, UpdateImage};
use serde::Deserialize;
use serde_json::Value;

use super::identifiers::image_arn;
use super::image_spec::SpecRequest;
use super::shape;
use crate::fault::Fault;
use crate::lambda::fields::read;
use crate::lambda::{Answer, Context};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    image_identifier: String,

    client_token: Option<String>,
    #[serde(flatten)]
    spec: SpecRequest,
}

pub(super) async fn perform(context: &Context<'_>, input: Value) -> Result<Answer, Fault> {
    let request: Request = read(input)?;
    let update = UpdateImage {
        arn: image_arn(context, &request.image_identifier)?,
        spec: request.spec.into_spec()?,
        client_token: request.client_token.map(ClientToken),
    };
    let made = context.control.update_image(context.scope(), update).await;
    let made = made.map_err(|error| context.refused(error))?;
    Ok(Answer::Json(Value::Object(shape::image_with_version(
        &made,
    ))))
}
