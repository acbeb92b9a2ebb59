//! Connectors by id, by name or by ARN: every operation takes all three.

use hearth_control::arn::ArnError;
use hearth_control::connector::ConnectorKey;

use crate::fault::Fault;
use crate::lambda::Context;

pub(super) fn connector_key(context: &Context<'_>, text: &str) -> Result<ConnectorKey, Fault> {
    let not_found = || {
        let message = format!("Network connector not found for: {text}");
        Fault::new(404, "ResourceNotFoundException", message)
    };
    if text.starts_with("arn:") {
        return text
            .parse()
            .map(ConnectorKey::Arn)
            .map_err(|error| match error {
                ArnError::Foreign => context.access_denied(),
                ArnError::NotAnArn | ArnError::Resource => not_found(),
            });
    }
    match text.parse() {
        Ok(id) => Ok(ConnectorKey::Id(id)),
        Err(_) => text
            .parse()
            .map(ConnectorKey::Name)
            .map_err(|_| not_found()),
    }
}
