//! `ListMicrovmImageVersions`: lists the versions of an image, with their specifications.

use super::identifiers::{image_arn, page_limit};
use super::shape;
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda_microvms::{
    ListMicrovmImageVersionsInput, ListMicrovmImageVersionsOutput,
};

pub(super) async fn perform(
    context: &Context<'_>,
    input: ListMicrovmImageVersionsInput,
) -> Result<ListMicrovmImageVersionsOutput, Fault> {
    let filters = [Some(input.image_identifier.as_str())];
    let token = input.next_token.as_deref();
    let page = context.page(page_limit(input.max_results), token, &filters)?;
    let arn = image_arn(context, &input.image_identifier)?;
    let found = context.control.versions(context.scope(), &arn, page).await;
    let found = found.map_err(|error| context.refused(error))?;
    let items = found.items.iter().map(shape::version).collect();
    Ok(ListMicrovmImageVersionsOutput {
        items,
        next_token: context.next_token(found.next, &filters),
    })
}
