//! `TagResource`: adds tags to an image or a network connector, or changes them.

use hearth_control::image::Tags;
use serde::Deserialize;
use serde_json::Value;

use super::identifiers::tagged_arn;
use crate::fault::Fault;
use crate::lambda::fields::read;
use crate::lambda::{Answer, Context};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Request {
    resource: String,
    tags: Tags,
}

pub(super) async fn perform(context: &Context<'_>, input: Value) -> Result<Answer, Fault> {
    let request: Request = read(input)?;
    let arn = tagged_arn(context, &request.resource)?;
    let done = context
        .control
        .tag(context.scope(), &arn, request.tags)
        .await;
    done.map_err(|error| context.refused(error))?;
    Ok(Answer::Empty)
}
