//! `DeleteMicrovmImageVersion`: starts to delete one version. Refuses the last version of an image.

use super::identifiers::{image_arn, version_number};
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda_microvms::{
    DeleteMicrovmImageVersionInput, DeleteMicrovmImageVersionOutput,
};

pub(super) async fn perform(
    context: &Context<'_>,
    input: DeleteMicrovmImageVersionInput,
) -> Result<DeleteMicrovmImageVersionOutput, Fault> {
    let arn = image_arn(context, &input.image_identifier)?;
    let number = version_number(&arn, &input.image_version)?;
    let version = context
        .control
        .delete_version(context.scope(), &arn, number)
        .await;
    let version = version.map_err(|error| context.refused(error))?;
    Ok(DeleteMicrovmImageVersionOutput {
        image_identifier: version.image.to_string(),
        image_version: version.number.to_string(),
        state: version.state.into(),
    })
}
