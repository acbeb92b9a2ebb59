//! Reads ARNs of resources with tags: functions alone.

use super::names::{invalid, named, not_found};
use crate::fault::Fault;
use crate::lambda::Context;

/// The name of a function that has tags.
pub(super) fn tagged(context: &Context<'_>, resource: &str) -> Result<String, Fault> {
    if !resource.contains(":function:") {
        return Err(not_found("The resource you requested does not exist."));
    }
    let named = named(context, resource, None)?;
    match named.qualifier {
        None => Ok(named.name),
        Some(_) => Err(invalid(
            "Tags on function aliases and versions are not supported. Please specify a function ARN.",
        )),
    }
}
