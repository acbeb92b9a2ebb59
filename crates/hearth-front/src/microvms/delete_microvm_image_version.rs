//! `DeleteMicrovmImageVersion`: begins to delete one version; the last one is refused.

use serde::Deserialize;
use serde_json::{Value, json};

use super::identifiers::{image_arn, version_number};
use crate::aws_strings::Word;
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
    let version = context
        .control
        .delete_version(context.scope(), &arn, number)
        .await;
    let version = version.map_err(|error| context.refused(error))?;
    Ok(Answer::Json(json!({
        "imageIdentifier": version.image.to_string(),
        "imageVersion": version.number.to_string(),
        "state": version.state.text(),
    })))
}
