//! `ListManagedMicrovmImages`: lists the base images that builds may use.

use super::identifiers::page_limit;
use super::shape;
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda_microvms::{
    ListManagedMicrovmImagesInput, ListManagedMicrovmImagesOutput,
};

pub(super) async fn perform(
    context: &Context<'_>,
    input: ListManagedMicrovmImagesInput,
) -> Result<ListManagedMicrovmImagesOutput, Fault> {
    let token = input.next_token.as_deref();
    let page = context.page(page_limit(input.max_results), token, &[])?;
    let found = context.control.managed_images(page).await;
    let found = found.map_err(|error| context.refused(error))?;
    let region = &context.scope().region;
    let items = found
        .items
        .iter()
        .map(|image| shape::managed_image(region, image))
        .collect();
    Ok(ListManagedMicrovmImagesOutput {
        items,
        next_token: context.next_token(found.next, &[]),
    })
}
