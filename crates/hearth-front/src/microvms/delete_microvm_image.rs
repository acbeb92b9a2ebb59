//! `DeleteMicrovmImage`: begins to delete it; its name stays taken until it is gone.

use serde::Deserialize;
use serde_json::{Value, json};

use super::identifiers::image_arn;
use crate::aws_strings::Word;
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
    let image = context.control.delete_image(context.scope(), &arn).await;
    let image = image.map_err(|error| context.refused(error))?;
    let body = json!({"imageIdentifier": image.arn.to_string(), "state": image.state.text()});
    Ok(Answer::Json(body))
}
