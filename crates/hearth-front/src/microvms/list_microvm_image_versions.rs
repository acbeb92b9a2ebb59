//! `ListMicrovmImageVersions`: the versions of an image, with everything they were made from.

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
    image_identifier: String,
    max_results: Option<u32>,
    next_token: Option<String>,
}

pub(super) async fn perform(context: &Context<'_>, input: Value) -> Result<Answer, Fault> {
    let request: Request = read(input)?;
    let filters = [Some(request.image_identifier.as_str())];
    let token = request.next_token.as_deref();
    let page = context.page(page_limit(request.max_results), token, &filters)?;
    let arn = image_arn(context, &request.image_identifier)?;
    let found = context.control.versions(context.scope(), &arn, page).await;
    let found = found.map_err(|error| context.refused(error))?;
    let items = found.items.iter().map(shape::version).collect();
    Ok(Answer::Json(shape::page(
        items,
        context.next_token(found.next, &filters),
    )))
}
