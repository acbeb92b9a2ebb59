//! `ListTags`: of an image or a network connector.

use serde::Deserialize;
use serde_json::{Value, json};

use super::identifiers::tagged_arn;
use crate::fault::Fault;
use crate::lambda::fields::read;
use crate::lambda::{Answer, Context};

#[derive(Deserialize)]
struct Request {
    #[serde(rename = "Resource")]
    resource: String,
}

pub(super) async fn perform(context: &Context<'_>, input: Value) -> Result<Answer, Fault> {
    let request: Request = read(input)?;
    let arn = tagged_arn(context, &request.resource)?;
    let tags = context.control.tags(context.scope(), &arn).await;
    let tags = tags.map_err(|error| context.refused(error))?;
    Ok(Answer::Json(json!({"Tags": tags})))
}
