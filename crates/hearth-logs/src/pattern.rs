//! Filter patterns for unstructured events: terms, phrases, alternatives, exclusions.
//!
//! ```text
//! ERROR timeout        both words
//! "not found"          the phrase
//! ?ERROR ?WARN         either
//! ERROR -retry         the first and not the second
//! ```
//!
//! Reference: "Filter pattern syntax", CloudWatch Logs User Guide. Patterns over JSON members and columns are
//! refused.

/// Longest pattern that CloudWatch Logs accepts.
const MAX_CHARS: usize = 1024;

/// A filter pattern. The empty pattern matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pattern {
    required: Vec<String>,
    alternatives: Vec<String>,
    excluded: Vec<String>,
}

/// Why a text is not a supported pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// The pattern is over JSON members (`{...}`) or columns (`[...]`), or is a regular expression (`%...%`).
    #[error("patterns over JSON, columns and regular expressions are not supported")]
    Structured,
    /// A quotation mark is not closed, or the text is too long.
    #[error("the pattern is malformed")]
    Malformed,
}

impl Pattern {
    /// Parses a pattern.
    ///
    /// # Errors
    ///
    /// [`PatternError`].
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.chars().count() > MAX_CHARS {
            return Err(PatternError::Malformed);
        }
        let mut rest = text.trim();
        if rest.starts_with(['{', '[', '%']) {
            return Err(PatternError::Structured);
        }
        let mut pattern = Self::default();
        while !rest.is_empty() {
            let (list, term) = match rest.strip_prefix('?') {
                Some(term) => (&mut pattern.alternatives, term),
                None => match rest.strip_prefix('-') {
                    Some(term) => (&mut pattern.excluded, term),
                    None => (&mut pattern.required, rest),
                },
            };
            let (term, after) = split_term(term)?;
            if !term.is_empty() {
                list.push(term.to_owned());
            }
            rest = after.trim_start();
        }
        Ok(pattern)
    }

    /// Whether a message matches. Case-sensitive.
    #[must_use]
    pub fn matches(&self, message: &str) -> bool {
        let contains = |term: &String| message.contains(term.as_str());
        self.required.iter().all(contains)
            && (self.alternatives.is_empty() || self.alternatives.iter().any(contains))
            && !self.excluded.iter().any(contains)
    }
}

/// The first term, bare or quoted, and the text after it.
fn split_term(text: &str) -> Result<(&str, &str), PatternError> {
    match text.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"').ok_or(PatternError::Malformed),
        None => {
            let end = text.find(char::is_whitespace).unwrap_or(text.len());
            Ok(text.split_at(end))
        }
    }
}
