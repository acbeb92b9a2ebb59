//! `ListMicrovmImages`: by name.

use hearth_control::image::Image;
use serde::Deserialize;
use serde_json::Value;

use super::identifiers::page_limit;
use super::shape;
use crate::fault::Fault;
use crate::lambda::fields::read;
use crate::lambda::{Answer, Context};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    max_results: Option<u32>,
    next_token: Option<String>,
    name_filter: Option<String>,
}

pub(super) async fn perform(context: &Context<'_>, input: Value) -> Result<Answer, Fault> {
    let request: Request = read(input)?;
    let filters = [request.name_filter.as_deref()];
    let token = request.next_token.as_deref();
    let page = context.page(page_limit(request.max_results), token, &filters)?;
    let found = context.control.images(context.scope(), page).await;
    let found = found.map_err(|error| context.refused(error))?;
    // AWS filters after it has cut the page, so that pages may be empty and still have a token.
    let wanted = request.name_filter.as_deref().unwrap_or_default();
    let is_wanted = |image: &&Image| image.arn.name.as_str().contains(wanted);
    let items = found
        .items
        .iter()
        .filter(is_wanted)
        .map(shape::image_item)
        .collect();
    Ok(Answer::Json(shape::page(
        items,
        context.next_token(found.next, &filters),
    )))
}
