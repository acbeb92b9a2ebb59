//! `GetMicrovmImageVersion`: returns a version with its specification and state.

use super::identifiers::{image_arn, version_number};
use super::shape;
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda_microvms::{GetMicrovmImageVersionInput, GetMicrovmImageVersionOutput};

pub(super) async fn perform(
    context: &Context<'_>,
    input: GetMicrovmImageVersionInput,
) -> Result<GetMicrovmImageVersionOutput, Fault> {
    let arn = image_arn(context, &input.image_identifier)?;
    let number = version_number(&arn, &input.image_version)?;
    let version = context.control.version(context.scope(), &arn, number).await;
    let version = version.map_err(|error| context.refused(error))?;
    Ok(shape::version(&version))
}
