//! `ListMicrovms`: of one image or of all, newest first.

use hearth_control::microvm::MicrovmFilter;
use serde::Deserialize;
use serde_json::Value;

use super::identifiers::{image_arn, page_limit};
use super::shape;
use crate::fault::Fault;
use crate::lambda::fields::read;
use crate::lambda::{Answer, Context};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    max_results: Option<u32>,
    next_token: Option<String>,
    image_identifier: Option<String>,
    image_version: Option<String>,
}

pub(super) async fn perform(context: &Context<'_>, input: Value) -> Result<Answer, Fault> {
    let request: Request = read(input)?;
    let filters = [
        request.image_identifier.as_deref(),
        request.image_version.as_deref(),
    ];
    let token = request.next_token.as_deref();
    let page = context.page(page_limit(request.max_results), token, &filters)?;
    let image = request.image_identifier.as_deref();
    let filter = MicrovmFilter {
        image: image.map(|image| image_arn(context, image)).transpose()?,
        version: match request.image_version.as_deref().map(str::parse) {
            None => None,
            Some(Ok(version)) => Some(version),
            // No microVM was ever launched from a version that cannot exist.
            Some(Err(_)) => return Ok(Answer::Json(shape::page(Vec::new(), Value::Null))),
        },
    };
    let found = context
        .control
        .microvms(context.scope(), &filter, page)
        .await;
    let found = found.map_err(|error| context.refused(error))?;
    let items = found.items.iter().map(shape::microvm_item).collect();
    Ok(Answer::Json(shape::page(
        items,
        context.next_token(found.next, &filters),
    )))
}
