//! Formats an error together with its causes.

use hearth_wire::without_error_numbers;

/// Formats an error with all its causes in one line, without the kernel's error numbers: people read it in build logs and
/// in reasons.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(&format!(": {next}"));
        cause = next.source();
    }
    without_error_numbers(&text)
}
