//! Reads the weights of aliases.

use hearth_functions::Routing;

use super::names::{invalid, version};
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda::AliasRoutingConfiguration;

/// The other version of an alias. `None` if there is none.
pub(super) fn routing(
    context: &Context<'_>,
    function: &str,
    config: AliasRoutingConfiguration,
) -> Result<Option<Routing>, Fault> {
    let weights = config.additional_version_weights.unwrap_or_default();
    if weights.len() > 1 {
        return Err(invalid(
            "Number of items in AdditionalVersionWeights cannot be greater than 1",
        ));
    }
    let other = weights.into_iter().next();
    let read = |(number, weight): (String, f64)| {
        Ok(Routing {
            version: version(context, function, &number)?,
            weight,
        })
    };
    other.map(read).transpose()
}
