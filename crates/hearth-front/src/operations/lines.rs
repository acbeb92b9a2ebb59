//! Lines of an application as the store has them, and as clients get them.

use hearth_logs::{Event, LogError};

/// Group and stream are made by the first line.
pub(super) fn nothing_yet(read: Result<Vec<Event>, LogError>) -> Result<Vec<Event>, LogError> {
    match read {
        Err(LogError::NoGroup | LogError::NoStream) => Ok(Vec::new()),
        read => read,
    }
}

/// One line each.
pub(super) fn text(events: &[Event]) -> String {
    let mut text = String::new();
    for event in events {
        text.push_str(&event.message);
        text.push('\n');
    }
    text
}
