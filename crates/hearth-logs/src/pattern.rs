//! Filter patterns.
//!
//! ```text
//! ERROR timeout                              both words
//! "not found"                                the phrase
//! ?ERROR ?WARN                               either
//! ERROR -retry                               the first and not the second
//! %5[0-9]{2}%                                a regular expression
//! { $.level = "ERROR" && $.ms > 10 }         members of a JSON object
//! [ip, user, ..., status=4*, bytes>100]      columns between spaces
//! ```
//!
//! Reference: "Filter pattern syntax", CloudWatch Logs User Guide.

mod columns;
mod expression;
mod json;
mod scanner;
mod value;

use columns::Columns;
use expression::Expression;
use json::MemberTest;
use regex::Regex;
use scanner::Scanner;

/// Longest pattern that CloudWatch Logs accepts.
const MAX_CHARS: usize = 1024;

/// A filter pattern. The default, the empty pattern, matches everything.
#[derive(Clone, Debug, Default)]
pub struct Pattern(Form);

#[derive(Clone, Debug)]
enum Form {
    Terms(Terms),
    Json(Expression<MemberTest>),
    Columns(Columns),
}

impl Default for Form {
    fn default() -> Self {
        Self::Terms(Terms::default())
    }
}

/// Why a text is not a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// The text is longer than patterns are.
    #[error("it has more than {MAX_CHARS} characters")]
    TooLong,
    /// The text cannot be read on from here.
    #[error("at character {at}: expected {expected}")]
    Unexpected {
        /// The number of the character, from one.
        at: usize,
        /// What would be right there.
        expected: &'static str,
    },
    /// A regular expression has more than what CloudWatch Logs takes, or is none.
    #[error(
        "the regular expression %{0}% is malformed, or has more than letters, digits, and these: _ # = @ / ; , - ^ $ ? [ ] {{ }} | \\ * + ."
    )]
    Regex(String),
    /// Parentheses are nested too deeply.
    #[error("parentheses are nested too deeply")]
    TooDeep,
}

impl Pattern {
    /// Parses a pattern.
    ///
    /// # Errors
    ///
    /// [`PatternError`].
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.chars().count() > MAX_CHARS {
            return Err(PatternError::TooLong);
        }
        let mut scanner = Scanner::new(text);
        let form = match scanner.peek() {
            Some('{') => Form::Json(json::parse(&mut scanner)?),
            Some('[') => Form::Columns(columns::parse(&mut scanner)?),
            _ => Form::Terms(Terms::parse(&mut scanner)?),
        };
        match scanner.peek() {
            None => Ok(Self(form)),
            Some(_) => Err(scanner.expected("the end of the pattern")),
        }
    }

    /// Whether a message matches. Case-sensitive.
    #[must_use]
    pub fn matches(&self, message: &str) -> bool {
        match &self.0 {
            Form::Terms(terms) => terms.matches(message),
            Form::Json(expression) => {
                serde_json::from_str(message).is_ok_and(|event: serde_json::Value| {
                    event.is_object() && expression.holds(|test| test.holds(&event))
                })
            }
            Form::Columns(columns) => columns.matches(message),
        }
    }
}

/// Words, phrases and regular expressions.
#[derive(Clone, Debug, Default)]
struct Terms {
    required: Vec<Term>,
    alternatives: Vec<Term>,
    excluded: Vec<Term>,
}

#[derive(Clone, Debug)]
enum Term {
    Text(String),
    Regex(Regex),
}

impl Terms {
    fn parse(scanner: &mut Scanner<'_>) -> Result<Self, PatternError> {
        let mut terms = Self::default();
        while let Some(first) = scanner.peek() {
            let list = match first {
                '?' => &mut terms.alternatives,
                '-' => &mut terms.excluded,
                _ => &mut terms.required,
            };
            if matches!(first, '?' | '-') {
                scanner.skip();
            }
            // A sign with nothing behind it asks for nothing.
            list.extend(term(scanner)?);
        }
        Ok(terms)
    }

    fn matches(&self, message: &str) -> bool {
        let contains = |term: &Term| match term {
            Term::Text(text) => message.contains(text.as_str()),
            Term::Regex(regex) => regex.is_match(message),
        };
        self.required.iter().all(contains)
            && (self.alternatives.is_empty() || self.alternatives.iter().any(contains))
            && !self.excluded.iter().any(contains)
    }
}

fn term(scanner: &mut Scanner<'_>) -> Result<Option<Term>, PatternError> {
    if let Some(quoted) = scanner.quoted()? {
        return Ok((!quoted.is_empty()).then_some(Term::Text(quoted)));
    }
    if let Some(regex) = scanner.regex()? {
        return Ok(Some(Term::Regex(regex)));
    }
    let word = scanner.until(char::is_whitespace);
    Ok((!word.is_empty()).then(|| Term::Text(word.to_owned())))
}

#[cfg(test)]
mod tests;
