//! Reads the name of a connector, and refuses texts that name none.

use hearth_control::arn::ArnError;
use hearth_control::connector::ConnectorKey;

use crate::fault::Fault;
use crate::lambda::{Context, connector_key as parse};

pub(super) fn connector_key(context: &Context<'_>, text: &str) -> Result<ConnectorKey, Fault> {
    parse::connector_key(text).map_err(|error| match error {
        ArnError::Foreign => context.access_denied(),
        ArnError::NotAnArn | ArnError::Resource => {
            let message = format!("Network connector not found for: {text}");
            Fault::new(404, "ResourceNotFoundException", message)
        }
    })
}
