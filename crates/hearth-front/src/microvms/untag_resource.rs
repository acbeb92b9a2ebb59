//! `UntagResource`: takes tags from an image or a network connector.

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
    tag_keys: Vec<String>,
}

pub(super) async fn perform(context: &Context<'_>, input: Value) -> Result<Answer, Fault> {
    let request: Request = read(input)?;
    let arn = tagged_arn(context, &request.resource)?;
    let done = context
        .control
        .untag(context.scope(), &arn, &request.tag_keys)
        .await;
    done.map_err(|error| context.refused(error))?;
    Ok(Answer::Empty)
}
