//! `GetMicrovmImageBuild`: one build, with what it takes on disk.

use serde::Deserialize;
use serde_json::Value;

use super::identifiers::{build_id, image_arn, version_number};
use super::shape;
use crate::fault::Fault;
use crate::lambda::fields::read;
use crate::lambda::{Answer, Context};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    image_identifier: String,
    image_version: String,
    build_id: String,
}

pub(super) async fn perform(context: &Context<'_>, input: Value) -> Result<Answer, Fault> {
    let request: Request = read(input)?;
    let arn = image_arn(context, &request.image_identifier)?;
    let number = version_number(&arn, &request.image_version)?;
    let id = build_id(&arn, number, &request.build_id)?;
    let build = context
        .control
        .build(context.scope(), &arn, number, id)
        .await;
    let build = build.map_err(|error| context.refused(error))?;
    Ok(Answer::Json(shape::build(&build)))
}
