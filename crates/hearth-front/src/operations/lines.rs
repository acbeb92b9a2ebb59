//! Log events as lines of text.

use hearth_logs::{LogError, LogEvent};

/// No events if group or stream do not exist: the first line creates them.
pub(super) fn nothing_yet(
    read: Result<Vec<LogEvent>, LogError>,
) -> Result<Vec<LogEvent>, LogError> {
    match read {
        Err(LogError::NoGroup | LogError::NoStream) => Ok(Vec::new()),
        read => read,
    }
}

/// One line for each event.
pub(super) fn text(events: &[LogEvent]) -> String {
    let mut text = String::new();
    for event in events {
        text.push_str(&event.message);
        text.push('\n');
    }
    text
}
