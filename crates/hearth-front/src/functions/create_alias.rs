//! `CreateAlias`: a name for a version, or for two.

use hearth_functions::NewAlias;

use super::names::{unqualified, version};
use super::routing::routing;
use super::shape;
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda::{CreateAliasInput, CreateAliasOutput};

pub(super) async fn perform(
    context: &Context<'_>,
    input: CreateAliasInput,
) -> Result<CreateAliasOutput, Fault> {
    let function = unqualified(context, &input.function_name)?;
    let other = input.routing_config;
    let other = other.map(|config| routing(context, &function, config));
    let new = NewAlias {
        version: version(context, &function, &input.function_version)?,
        routing: other.transpose()?.flatten(),
        name: input.name,
        description: input.description.unwrap_or_default(),
    };
    let created = context.store(move |store, owner| store.create_alias(owner, &function, new));
    created.await.map(shape::alias)
}
