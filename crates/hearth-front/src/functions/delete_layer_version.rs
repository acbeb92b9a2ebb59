//! `DeleteLayerVersion`. Succeeds if it does not exist; functions that use it go on.

use super::layer_names::{layer_arn, own_layer};
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda::DeleteLayerVersionInput;

pub(super) async fn perform(
    context: &Context<'_>,
    input: DeleteLayerVersionInput,
) -> Result<(), Fault> {
    own_layer(context, &input.layer_name)?;
    let arn = layer_arn(context, &input.layer_name, input.version_number)?;
    context
        .store(move |store, _| store.delete_layer_version(&arn))
        .await
}
