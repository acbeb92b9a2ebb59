//! Reads names of layers from requests: a name, or an ARN without a version.

use hearth_functions::{LayerArn, Owner};

use super::names::invalid;
use crate::fault::Fault;
use crate::lambda::Context;

/// A layer as a request names it, which may be another account's.
pub(super) fn layer(context: &Context<'_>, text: &str) -> Result<(Owner, String), Fault> {
    let Some(rest) = text.strip_prefix("arn:aws:lambda:") else {
        return Ok((context.owner(), text.to_owned()));
    };
    let parts: Vec<&str> = rest.split(':').collect();
    let [region, account, "layer", name] = parts[..] else {
        return Err(invalid(format!("Invalid layer name: {text}")));
    };
    let owner = Owner {
        account: account.to_owned(),
        region: region.to_owned(),
    };
    Ok((owner, name.to_owned()))
}

/// A layer of the caller. One of another account is denied.
pub(super) fn own_layer(context: &Context<'_>, text: &str) -> Result<String, Fault> {
    let (owner, name) = layer(context, text)?;
    if owner == context.owner() {
        Ok(name)
    } else {
        Err(Fault::silent(403, "AccessDeniedException"))
    }
}

/// The number of a version. Versions count from one.
pub(super) fn number(number: i64) -> Result<u32, Fault> {
    if number < 1 {
        return Err(invalid("Layer Version Cannot be less than 1"));
    }
    // No layer has as many versions as would not fit.
    Ok(u32::try_from(number).unwrap_or(u32::MAX))
}

/// A version of a layer, which may be another account's.
pub(super) fn layer_arn(
    context: &Context<'_>,
    text: &str,
    version: i64,
) -> Result<LayerArn, Fault> {
    let (owner, name) = layer(context, text)?;
    Ok(LayerArn {
        owner,
        name,
        version: number(version)?,
    })
}
