//! Reads names of functions from requests.

use hearth_functions::{FunctionRef, Qualifier, ReferenceError, VersionId};

use crate::fault::Fault;
use crate::lambda::Context;

/// A function as a request names it.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub(super) name: String,
    pub(super) qualifier: Option<Qualifier>,
}

impl Named {
    /// The ARN as it was named, without a qualifier if none was.
    pub(super) fn arn(&self, context: &Context<'_>) -> String {
        qualified(
            context.owner().function_arn(&self.name),
            self.qualifier.as_ref(),
        )
    }
}

/// An ARN with a qualifier, if there is one.
pub(super) fn qualified(arn: String, qualifier: Option<&Qualifier>) -> String {
    match qualifier {
        Some(qualifier) => format!("{arn}:{qualifier}"),
        None => arn,
    }
}

/// A name with the qualifier of the request.
pub(super) fn named(
    context: &Context<'_>,
    name: &str,
    qualifier: Option<&str>,
) -> Result<Named, Fault> {
    let read = name.parse::<FunctionRef>();
    let read = read.and_then(|read| read.qualified(qualifier));
    let read = read.map_err(|error| match error {
        ReferenceError::Malformed => invalid(format!("Invalid function name: {name}")),
        ReferenceError::OtherQualifier => invalid(
            "The derived qualifier from the function name does not match the specified qualifier.",
        ),
    })?;
    let own = context.owner();
    if read.account.is_some_and(|account| account != own.account) {
        return Err(Fault::silent(403, "AccessDeniedException"));
    }
    if let Some(region) = read.region.filter(|region| *region != own.region) {
        return Err(not_found(format!(
            "Functions from '{region}' are not reachable in this region ('{}')",
            own.region
        )));
    }
    Ok(Named {
        name: read.name,
        qualifier: read.qualifier,
    })
}

/// The name of a function as a whole. A qualifier in it is refused.
pub(super) fn unqualified(context: &Context<'_>, name: &str) -> Result<String, Fault> {
    let named = named(context, name, None)?;
    match named.qualifier {
        None => Ok(named.name),
        Some(_) => Err(invalid(
            "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. \
             Please specify either a function name or an unqualified function ARN.",
        )),
    }
}

/// The version of an alias. Digits that no version has are told not to exist.
pub(super) fn version(context: &Context<'_>, name: &str, text: &str) -> Result<VersionId, Fault> {
    text.parse().map_err(|_| {
        let arn = context.owner().function_arn(name);
        not_found(format!("Function not found: {arn}:{text}"))
    })
}

pub(super) fn invalid(message: impl Into<String>) -> Fault {
    Fault::new(400, "InvalidParameterValueException", message)
}

pub(super) fn not_found(message: impl Into<String>) -> Fault {
    Fault::new(404, "ResourceNotFoundException", message)
}
