//! `UpdateMicrovmImageVersion`: sets whether new microVMs may be launched from a version.

use super::identifiers::{image_arn, version_number};
use super::shape;
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda_microvms::{
    UpdateMicrovmImageVersionInput, UpdateMicrovmImageVersionOutput,
};

pub(super) async fn perform(
    context: &Context<'_>,
    input: UpdateMicrovmImageVersionInput,
) -> Result<UpdateMicrovmImageVersionOutput, Fault> {
    let arn = image_arn(context, &input.image_identifier)?;
    let number = version_number(&arn, &input.image_version)?;
    let status = input.status.into();
    let version = context
        .control
        .set_version_status(context.scope(), &arn, number, status)
        .await;
    let version = version.map_err(|error| context.refused(error))?;
    Ok(shape::version(&version))
}
