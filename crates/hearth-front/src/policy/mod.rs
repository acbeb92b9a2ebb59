//! IAM policies: evaluation of documents for one request. Pure: knows no store, no HTTP and no caller.
//!
//! ```text
//! text --parse--> Document (statements) --decide(question)--> Decision
//! ```
//!
//! A statement applies to a question, or does not apply, or that is unknown ([`Truth`]): for a condition, operator or
//! policy variable that Hearth does not know. An unknown is always read in the restrictive way: it allows nothing in
//! an `Allow` and denies everything in a `Deny`.
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
pub(crate) use document::{Document, DocumentKind};
pub(crate) use parse::ParseError;

use document::{Effect, Statement};

/// A question to policies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question<'a> {
    /// All spellings of who asks, for documents that name principals: `Service:lambda.amazonaws.com`, `AWS:arn:aws:...`.
    pub(crate) principals: &'a [String],
    /// `service:Operation`.
    pub(crate) action: &'a str,
    /// All spellings of the requested resource.
    pub(crate) resources: &'a [String],
    /// The facts that conditions are compared with.
    pub(crate) facts: &'a Facts,
}

/// The decision of policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    Allowed,
    /// A statement denies the request.
    DeniedExplicitly,
    /// No statement allows the request.
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

/// The decision of several documents together. A denial wins, whatever the order.
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
    let actions = statement.actions.covers(&[question.action]);
    if actions == Truth::No {
        // Most statements are about something else.
        return Truth::No;
    }
    let named = |choice: &Option<document::Choice>, texts: &[&str]| match choice {
        Some(choice) => choice.covers(texts),
        // This kind of document does not name this.
        None => Truth::Yes,
    };
    let resources: Vec<_> = question.resources.iter().map(String::as_str).collect();
    let principals: Vec<_> = question.principals.iter().map(String::as_str).collect();
    actions
        .and(named(&statement.resources, &resources))
        .and(named(&statement.principals, &principals))
        .and(condition::all_hold(&statement.conditions, question.facts))
}
