//! Texts with wildcards: `*` stands for any characters, `?` for one.

use super::Truth;
use super::glob::Glob;

/// How letters compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Letters {
    /// Case-sensitive: resources.
    Exact,
    /// Case-insensitive: actions. `S3:getobject` is `s3:GetObject`.
    AnyCase,
}

/// A text of a policy, perhaps with wildcards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    form: Form,
    letters: Letters,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    /// A text with a policy variable such as `${aws:username}`, whose value is not known.
    Variable,
    /// `*` alone.
    Everything,
    /// A text without wildcards.
    Text(String),
    /// A text with wildcards. It is prepared for matching when it is matched: what is prepared takes some hundred bytes,
    /// and requests hold the policies of their role, which may be a hundred kilobytes of such texts.
    Glob(String),
}

impl Pattern {
    pub(super) fn new(text: &str, letters: Letters) -> Self {
        let text = match letters {
            Letters::Exact => text.to_owned(),
            Letters::AnyCase => text.to_ascii_lowercase(),
        };
        let form = if text.contains("${") {
            Form::Variable
        } else if text == "*" {
            Form::Everything
        } else if text.contains(['*', '?']) {
            Form::Glob(text)
        } else {
            Form::Text(text)
        };
        Self { form, letters }
    }

    pub(super) fn matches(&self, text: &str) -> Truth {
        match self.letters {
            Letters::Exact => self.form.matches(text),
            Letters::AnyCase => self.form.matches(&text.to_ascii_lowercase()),
        }
    }
}

impl Form {
    fn matches(&self, text: &str) -> Truth {
        match self {
            Self::Variable => Truth::Unknown,
            Self::Everything => Truth::Yes,
            Self::Text(known) => Truth::of(known == text),
            Self::Glob(pattern) => Truth::of(Glob::new(pattern).matches(text)),
        }
    }
}
