//! `ListManagedMicrovmImageVersions`: lists the versions of a base image, newest first.

use super::identifiers::{managed_image_arn, page_limit};
use super::shape;
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda_microvms::{
    ListManagedMicrovmImageVersionsInput, ListManagedMicrovmImageVersionsOutput,
};

pub(super) async fn perform(
    context: &Context<'_>,
    input: ListManagedMicrovmImageVersionsInput,
) -> Result<ListManagedMicrovmImageVersionsOutput, Fault> {
    let filters = [Some(input.image_identifier.as_str())];
    let token = input.next_token.as_deref();
    let page = context.page(page_limit(input.max_results), token, &filters)?;
    let arn = managed_image_arn(context, &input.image_identifier)?;
    let found = context.control.managed_versions(&arn, page).await;
    let found = found.map_err(|error| context.refused(error))?;
    let items = found
        .items
        .iter()
        .map(|version| shape::managed_version(&arn, version))
        .collect();
    Ok(ListManagedMicrovmImageVersionsOutput {
        items,
        next_token: context.next_token(found.next, &filters),
    })
}
