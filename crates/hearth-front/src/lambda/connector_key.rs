//! Connectors by id, by name or by ARN: every operation takes all three.

use hearth_control::arn::ArnError;
use hearth_control::connector::ConnectorKey;

/// # Errors
///
/// [`ArnError`]: [`ArnError::Foreign`] of what belongs to nobody here, else it names no connector.
pub(crate) fn connector_key(text: &str) -> Result<ConnectorKey, ArnError> {
    if text.starts_with("arn:") {
        return text.parse().map(ConnectorKey::Arn);
    }
    let by_id = text.parse().map(ConnectorKey::Id);
    by_id
        .or_else(|_| text.parse().map(ConnectorKey::Name))
        .map_err(|_| ArnError::NotAnArn)
}
