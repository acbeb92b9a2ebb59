//! `UpdateAlias`: changes what the request has.

use hearth_functions::AliasChange;

use super::names::{unqualified, version};
use super::routing::routing;
use super::shape;
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda::{UpdateAliasInput, UpdateAliasOutput};

pub(super) async fn perform(
    context: &Context<'_>,
    input: UpdateAliasInput,
) -> Result<UpdateAliasOutput, Fault> {
    let function = unqualified(context, &input.function_name)?;
    let number = input.function_version.as_deref();
    let number = number.map(|text| version(context, &function, text));
    let config = input.routing_config;
    let change = AliasChange {
        version: number.transpose()?,
        routing: config
            .map(|config| routing(context, &function, config))
            .transpose()?,
        description: input.description,
        revision_id: input.revision_id,
    };
    let updated = context
        .store(move |store, owner| store.update_alias(owner, &function, &input.name, change));
    updated.await.map(shape::alias)
}
