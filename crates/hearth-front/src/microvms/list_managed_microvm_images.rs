//! `ListManagedMicrovmImages`: the base images that builds may stand on.

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
}

pub(super) async fn perform(context: &Context<'_>, input: Value) -> Result<Answer, Fault> {
    let request: Request = read(input)?;
    let token = request.next_token.as_deref();
    let page = context.page(page_limit(request.max_results), token, &[])?;
    let found = context.control.managed_images(page).await;
    let found = found.map_err(|error| context.refused(error))?;
    let region = &context.scope().region;
    let items = found
        .items
        .iter()
        .map(|image| shape::managed_image(region, image))
        .collect();
    Ok(Answer::Json(shape::page(
        items,
        context.next_token(found.next, &[]),
    )))
}
