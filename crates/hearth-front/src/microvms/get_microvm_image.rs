//! `GetMicrovmImage`: an image with its tags; what it is made of stands on its versions.

use serde::Deserialize;
use serde_json::Value;

use super::identifiers::image_arn;
use super::shape;
use crate::fault::Fault;
use crate::lambda::fields::read;
use crate::lambda::{Answer, Context};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    image_identifier: String,
}

pub(super) async fn perform(context: &Context<'_>, input: Value) -> Result<Answer, Fault> {
    let request: Request = read(input)?;
    let arn = image_arn(context, &request.image_identifier)?;
    let found = context.control.image(context.scope(), &arn).await;
    let found = found.map_err(|error| context.refused(error))?;
    Ok(Answer::Json(shape::image(&found)))
}
