//! Makes texts of guests and VMMs safe to be shown in logs, in reasons and on terminals.
//!
//! A guest controls its agent, and may control its VMM. An operator reads their texts beside the service's own
//! messages, so they must not be able to imitate those: one line, no control characters, bounded length.

/// Longest text that is shown, in characters. The longest text of our own VMM and agent, with a path in it, is a tenth
/// of that.
const MAX_CHARS: usize = 1024;

/// The text as one line, with control characters escaped, and cut to [`MAX_CHARS`].
pub(crate) fn harmless(text: &str) -> String {
    let is_plain = |c: &char| !c.is_control() && !is_direction(*c);
    if text.chars().all(|c| is_plain(&c)) && text.chars().nth(MAX_CHARS).is_none() {
        return text.to_owned();
    }
    let mut told = String::new();
    for c in text.chars().take(MAX_CHARS) {
        if is_plain(&c) {
            told.push(c);
        } else {
            told.extend(c.escape_default());
        }
    }
    if text.chars().nth(MAX_CHARS).is_some() {
        told.push('…');
    }
    told
}

/// Whether a character changes the direction of the text around it (Unicode UAX #9).
fn is_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_stays_and_nothing_else_does() {
        assert_eq!(
            harmless("cannot open \"/a\": größer"),
            "cannot open \"/a\": größer"
        );
        assert_eq!(
            harmless("a\nINFO b\x1b[2J\u{202e}"),
            "a\\nINFO b\\u{1b}[2J\\u{202e}"
        );
        let long = harmless(&"x".repeat(MAX_CHARS + 1));
        assert_eq!(long.chars().count(), MAX_CHARS + 1);
        assert!(long.ends_with('…'));
    }
}
