//! `GetMicrovmImageBuild`: returns a build, with its sizes on disk.

use super::identifiers::{build_id, image_arn, version_number};
use super::shape;
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda_microvms::{GetMicrovmImageBuildInput, GetMicrovmImageBuildOutput};

pub(super) async fn perform(
    context: &Context<'_>,
    input: GetMicrovmImageBuildInput,
) -> Result<GetMicrovmImageBuildOutput, Fault> {
    let arn = image_arn(context, &input.image_identifier)?;
    let number = version_number(&arn, &input.image_version)?;
    let id = build_id(&arn, number, &input.build_id)?;
    let build = context
        .control
        .build(context.scope(), &arn, number, id)
        .await;
    let build = build.map_err(|error| context.refused(error))?;
    Ok(shape::build(&build))
}
