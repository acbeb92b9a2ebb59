//! `ListMicrovmImageBuilds`: the builds of a version.

use hearth_control::image::{Architecture, Build, BuildFilter};
use serde::Deserialize;
use serde_json::Value;

use super::identifiers::{image_arn, page_limit, version_number};
use super::shape;
use crate::aws_strings::Word;
use crate::fault::Fault;
use crate::lambda::fields::read;
use crate::lambda::{Answer, Context};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    image_identifier: String,
    image_version: String,
    max_results: Option<u32>,
    next_token: Option<String>,
    architecture: Option<String>,
    chipset: Option<String>,
    chipset_generation: Option<String>,
}

pub(super) async fn perform(context: &Context<'_>, input: Value) -> Result<Answer, Fault> {
    let request: Request = read(input)?;
    let filters = [
        Some(request.image_identifier.as_str()),
        Some(request.image_version.as_str()),
        request.architecture.as_deref(),
        request.chipset.as_deref(),
        request.chipset_generation.as_deref(),
    ];
    let token = request.next_token.as_deref();
    let page = context.page(page_limit(request.max_results), token, &filters)?;
    let arn = image_arn(context, &request.image_identifier)?;
    let number = version_number(&arn, &request.image_version)?;
    let filter = BuildFilter {
        architecture: request
            .architecture
            .as_deref()
            .and_then(Architecture::from_text),
        chipset_generation: request.chipset_generation.clone(),
    };
    let found = context
        .control
        .builds(context.scope(), &arn, number, &filter, page)
        .await;
    let found = found.map_err(|error| context.refused(error))?;
    let of_chipset = |build: &&Build| {
        request
            .chipset
            .as_deref()
            .is_none_or(|wanted| wanted == shape::chipset(build.architecture))
    };
    let items = found
        .items
        .iter()
        .filter(of_chipset)
        .map(shape::build_item)
        .collect();
    Ok(Answer::Json(shape::page(
        items,
        context.next_token(found.next, &filters),
    )))
}
