//! `GetMicrovmImageVersion`: everything a version was made from, and how far it is.

use serde::Deserialize;
use serde_json::Value;

use super::identifiers::{image_arn, version_number};
use super::shape;
use crate::fault::Fault;
use crate::lambda::fields::read;
use crate::lambda::{Answer, Context};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    image_identifier: String,
    image_version: String,
}

pub(super) async fn perform(context: &Context<'_>, input: Value) -> Result<Answer, Fault> {
    let request: Request = read(input)?;
    let arn = image_arn(context, &request.image_identifier)?;
    let number = version_number(&arn, &request.image_version)?;
    let version = context.control.version(context.scope(), &arn, number).await;
    let version = version.map_err(|error| context.refused(error))?;
    Ok(Answer::Json(shape::version(&version)))
}
