//! Reads the name of a connector: every operation takes an id, a name or an ARN.

use hearth_control::arn::ArnError;
use hearth_control::connector::ConnectorKey;

/// # Errors
///
/// [`ArnError::Foreign`] for a connector that no account of this service can own. Any other [`ArnError`] if the text
/// names no connector.
pub(crate) fn connector_key(text: &str) -> Result<ConnectorKey, ArnError> {
    if text.starts_with("arn:") {
        return text.parse().map(ConnectorKey::Arn);
    }
    let by_id = text.parse().map(ConnectorKey::Id);
    by_id
        .or_else(|_| text.parse().map(ConnectorKey::Name))
        .map_err(|_| ArnError::NotAnArn)
}
