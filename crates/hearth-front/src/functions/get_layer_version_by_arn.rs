//! `GetLayerVersionByArn`: a version of a layer, with the address of its content.

use hearth_functions::LayerArn;

use super::code_location::location;
use super::layer_names::number;
use super::names::not_found;
use super::shape;
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda::{GetLayerVersionByArnInput, GetLayerVersionByArnOutput};

pub(super) async fn perform(
    context: &Context<'_>,
    input: GetLayerVersionByArnInput,
) -> Result<GetLayerVersionByArnOutput, Fault> {
    let arn: LayerArn = input
        .arn
        .parse()
        .map_err(|_| not_found("The resource you requested does not exist."))?;
    number(arn.version.into())?;
    let found = context.store(move |store, owner| store.layer_version(owner, &arn));
    let found = found.await?;
    let location = location(context, &found.arn.owner, &found.code.sha256)?;
    Ok(shape::layer_version(&found, location))
}
