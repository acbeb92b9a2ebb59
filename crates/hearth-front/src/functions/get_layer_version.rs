//! `GetLayerVersion`: a version of a layer, with the address of its content.

use super::code_location::location;
use super::layer_names::layer_arn;
use super::shape;
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda::{GetLayerVersionInput, GetLayerVersionOutput};

pub(super) async fn perform(
    context: &Context<'_>,
    input: GetLayerVersionInput,
) -> Result<GetLayerVersionOutput, Fault> {
    let arn = layer_arn(context, &input.layer_name, input.version_number)?;
    let found = context.store(move |store, owner| store.layer_version(owner, &arn));
    let found = found.await?;
    let location = location(context, &found.arn.owner, &found.code.sha256)?;
    Ok(shape::layer_version(&found, location))
}
