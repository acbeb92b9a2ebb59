//! IAM policies: what a document says about one request. Pure; knows no store, no request and no caller.
//!
//! ```text
//! text --parse--> Document (statements) --decide(question)--> Decision
//! ```
//!
//! A statement applies to a question, or does not, or it cannot be told ([`Truth`]): a condition, an operator or a policy
//! variable that is not known here. What cannot be told is always taken for the closed answer: it gives nothing in an
//! `Allow` and takes everything in a `Deny`.
//!
//! Reference: "Policy evaluation logic" and "IAM JSON policy element reference", IAM User Guide.

mod condition;
mod document;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod glob;
mod parse;
mod pattern;
#[cfg(test)]
mod tests;

pub(crate) use condition::Facts;
pub(crate) use document::{Document, Kind};

use document::{Effect, Statement};

/// What is asked of policies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question<'a> {
    /// Who asks, for documents that name principals: `lambda.amazonaws.com`.
    pub(crate) service: Option<&'a str>,
    /// `service:Operation`.
    pub(crate) action: &'a str,
    /// All spellings of the one resource that is asked for.
    pub(crate) resources: &'a [String],
    /// What conditions may be held against.
    pub(crate) facts: &'a Facts,
}

/// What policies say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    Allowed,
    /// A statement forbids it.
    DeniedExplicitly,
    /// No statement allows it.
    NotAllowed,
}

/// Whether something holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Truth {
    No,
    Unknown,
    Yes,
}

impl Truth {
    fn of(is_true: bool) -> Self {
        if is_true { Self::Yes } else { Self::No }
    }

    fn and(self, other: Self) -> Self {
        self.min(other)
    }

    fn or(self, other: Self) -> Self {
        self.max(other)
    }

    fn not(self) -> Self {
        match self {
            Self::No => Self::Yes,
            Self::Unknown => Self::Unknown,
            Self::Yes => Self::No,
        }
    }
}

/// What these documents say together: whatever denies wins, in whatever order they stand.
pub(crate) fn decide<'a>(
    documents: impl IntoIterator<Item = &'a Document>,
    question: &Question<'_>,
) -> Decision {
    let mut decision = Decision::NotAllowed;
    for statement in documents.into_iter().flat_map(Document::statements) {
        match (statement.effect, applies(statement, question)) {
            (Effect::Deny, Truth::Yes | Truth::Unknown) => return Decision::DeniedExplicitly,
            (Effect::Allow, Truth::Yes) => decision = Decision::Allowed,
            _ => {}
        }
    }
    decision
}

fn applies(statement: &Statement, question: &Question<'_>) -> Truth {
    let named = |choice: &Option<document::Choice>, texts: &[&str]| match choice {
        Some(choice) => choice.covers(texts),
        // A kind of document that does not name this.
        None => Truth::Yes,
    };
    let resources: Vec<_> = question.resources.iter().map(String::as_str).collect();
    let service = question.service.unwrap_or_default();
    statement
        .actions
        .covers(&[question.action])
        .and(named(&statement.resources, &resources))
        .and(named(&statement.principals, &[service]))
        .and(condition::all_hold(&statement.conditions, question.facts))
}
