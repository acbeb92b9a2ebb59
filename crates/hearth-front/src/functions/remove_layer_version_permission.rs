//! `RemoveLayerVersionPermission`: removes a statement from the policy of a version of a layer.

use super::layer_names::{number, own_layer};
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda::RemoveLayerVersionPermissionInput;

pub(super) async fn perform(
    context: &Context<'_>,
    input: RemoveLayerVersionPermissionInput,
) -> Result<(), Fault> {
    let name = own_layer(context, &input.layer_name)?;
    let version = number(input.version_number)?;
    let removed = context.store(move |store, owner| {
        let (id, revision_id) = (&input.statement_id, input.revision_id);
        store.remove_layer_permission(owner, &name, version, id, revision_id)
    });
    removed.await
}
