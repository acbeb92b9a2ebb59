//! `UpdateMicrovmImageVersion`: lets new microVMs be launched from a version, or not.

use hearth_control::image::VersionStatus;
use serde::Deserialize;
use serde_json::Value;

use super::identifiers::{image_arn, version_number};
use super::shape;
use crate::aws_strings::Word;
use crate::fault::Fault;
use crate::lambda::fields::read;
use crate::lambda::{Answer, Context};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    image_identifier: String,
    image_version: String,
    status: String,
}

pub(super) async fn perform(context: &Context<'_>, input: Value) -> Result<Answer, Fault> {
    let request: Request = read(input)?;
    let arn = image_arn(context, &request.image_identifier)?;
    let number = version_number(&arn, &request.image_version)?;
    let status = VersionStatus::from_text(&request.status).ok_or_else(Fault::unparseable)?;
    let version = context
        .control
        .set_version_status(context.scope(), &arn, number, status)
        .await;
    let version = version.map_err(|error| context.refused(error))?;
    Ok(Answer::Json(shape::version(&version)))
}
