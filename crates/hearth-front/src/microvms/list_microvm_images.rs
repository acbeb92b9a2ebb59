//! `ListMicrovmImages`: lists images by name.

use hearth_control::image::Image;

use super::identifiers::page_limit;
use super::shape;
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda_microvms::{ListMicrovmImagesInput, ListMicrovmImagesOutput};

pub(super) async fn perform(
    context: &Context<'_>,
    input: ListMicrovmImagesInput,
) -> Result<ListMicrovmImagesOutput, Fault> {
    let filters = [input.name_filter.as_deref()];
    let token = input.next_token.as_deref();
    let page = context.page(page_limit(input.max_results), token, &filters)?;
    let found = context.control.images(context.scope(), page).await;
    let found = found.map_err(|error| context.refused(error))?;
    // AWS applies the filter after it has cut the page, so a page may be empty and still have a token.
    let wanted = input.name_filter.as_deref().unwrap_or_default();
    let is_wanted = |image: &&Image| image.arn.name.as_str().contains(wanted);
    let items = found
        .items
        .iter()
        .filter(is_wanted)
        .map(shape::image_item)
        .collect();
    Ok(ListMicrovmImagesOutput {
        items,
        next_token: context.next_token(found.next, &filters),
    })
}
