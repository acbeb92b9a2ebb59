//! `ListMicrovmImageBuilds`: lists the builds of a version.

use hearth_control::image::{Build, BuildFilter};

use super::identifiers::{image_arn, page_limit, version_number};
use super::shape;
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda_microvms::{ListMicrovmImageBuildsInput, ListMicrovmImageBuildsOutput};
use crate::model::values::ModelWord;

pub(super) async fn perform(
    context: &Context<'_>,
    input: ListMicrovmImageBuildsInput,
) -> Result<ListMicrovmImageBuildsOutput, Fault> {
    let filters = [
        Some(input.image_identifier.as_str()),
        Some(input.image_version.as_str()),
        input.architecture.map(ModelWord::text),
        input.chipset.map(ModelWord::text),
        input.chipset_generation.as_deref(),
    ];
    let token = input.next_token.as_deref();
    let page = context.page(page_limit(input.max_results), token, &filters)?;
    let arn = image_arn(context, &input.image_identifier)?;
    let number = version_number(&arn, &input.image_version)?;
    let filter = BuildFilter {
        architecture: input.architecture.map(Into::into),
        chipset_generation: input.chipset_generation.clone(),
    };
    let found = context
        .control
        .builds(context.scope(), &arn, number, &filter, page)
        .await;
    let found = found.map_err(|error| context.refused(error))?;
    let of_chipset = |build: &&Build| {
        let chipset = shape::chipset(build.architecture);
        input.chipset.is_none_or(|wanted| wanted == chipset)
    };
    let items = found
        .items
        .iter()
        .filter(of_chipset)
        .map(shape::build_item)
        .collect();
    Ok(ListMicrovmImageBuildsOutput {
        items,
        next_token: context.next_token(found.next, &filters),
    })
}
