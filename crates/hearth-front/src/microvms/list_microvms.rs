//! `ListMicrovms`: lists the microVMs of one image or of all, newest first.

use hearth_control::microvm::MicrovmFilter;

use super::identifiers::{image_arn, page_limit};
use super::shape;
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda_microvms::{ListMicrovmsInput, ListMicrovmsOutput};

pub(super) async fn perform(
    context: &Context<'_>,
    input: ListMicrovmsInput,
) -> Result<ListMicrovmsOutput, Fault> {
    let filters = [
        input.image_identifier.as_deref(),
        input.image_version.as_deref(),
    ];
    let token = input.next_token.as_deref();
    let page = context.page(page_limit(input.max_results), token, &filters)?;
    let image = input.image_identifier.as_deref();
    let filter = MicrovmFilter {
        image: image.map(|image| image_arn(context, image)).transpose()?,
        version: match input.image_version.as_deref().map(str::parse) {
            None => None,
            Some(Ok(version)) => Some(version),
            // No microVM was ever launched from a version that cannot exist.
            Some(Err(_)) => {
                return Ok(ListMicrovmsOutput {
                    items: Vec::new(),
                    next_token: None,
                });
            }
        },
    };
    let found = context
        .control
        .microvms(context.scope(), &filter, page)
        .await;
    let found = found.map_err(|error| context.refused(error))?;
    let items = found.items.iter().map(shape::microvm_item).collect();
    Ok(ListMicrovmsOutput {
        items,
        next_token: context.next_token(found.next, &filters),
    })
}
