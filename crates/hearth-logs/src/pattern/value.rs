//! What a member or column is compared with.

use regex::Regex;

use super::PatternError;
use super::scanner::Scanner;

/// A comparison with a value.
#[derive(Clone, Debug)]
pub(super) enum Comparison {
    Equal(Value),
    Unequal(Value),
    /// With a number. Nothing but numbers is in any order to it.
    Ordered(Order, f64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Less,
    AtMost,
    Greater,
    AtLeast,
}

/// The value of `=` and `!=`.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// A text, of which `*` stands for any characters. Where it was written without quotation marks and is a number, numbers are equal
    /// to it however they are written.
    Text {
        parts: Vec<String>,
        number: Option<f64>,
    },
    Regex(Regex),
}

impl Comparison {
    /// Parses an operator and its value. A bare value ends before one of these characters, or a space.
    pub(super) fn parse(
        scanner: &mut Scanner<'_>,
        ends: &str,
    ) -> Result<Option<Self>, PatternError> {
        let ordered = [
            ("<=", Order::AtMost),
            (">=", Order::AtLeast),
            ("<", Order::Less),
            (">", Order::Greater),
        ];
        for (sign, order) in ordered {
            if scanner.eat(sign) {
                scanner.peek();
                let number = bare(scanner, ends).parse().ok();
                let number = number.filter(|number: &f64| number.is_finite());
                let number = number.ok_or_else(|| scanner.expected("a number"))?;
                return Ok(Some(Self::Ordered(order, number)));
            }
        }
        if scanner.eat("!=") {
            return Value::parse(scanner, ends).map(|value| Some(Self::Unequal(value)));
        }
        if scanner.eat("=") {
            return Value::parse(scanner, ends).map(|value| Some(Self::Equal(value)));
        }
        Ok(None)
    }

    /// Whether it holds for a text, which is a number too if `number` says so.
    pub(super) fn holds(&self, text: &str, number: Option<f64>) -> bool {
        match self {
            Self::Equal(value) => value.matches(text, number),
            Self::Unequal(value) => !value.matches(text, number),
            Self::Ordered(order, than) => number.is_some_and(|number| match order {
                Order::Less => number < *than,
                Order::AtMost => number <= *than,
                Order::Greater => number > *than,
                Order::AtLeast => number >= *than,
            }),
        }
    }
}

impl Value {
    fn parse(scanner: &mut Scanner<'_>, ends: &str) -> Result<Self, PatternError> {
        if let Some(regex) = scanner.regex()? {
            return Ok(Self::Regex(regex));
        }
        if let Some(quoted) = scanner.quoted()? {
            return Ok(Self::text(&quoted, None));
        }
        let word = bare(scanner, ends);
        if word.is_empty() {
            return Err(scanner.expected("a value"));
        }
        let number = word.parse().ok().filter(|number: &f64| number.is_finite());
        Ok(Self::text(word, number))
    }

    fn text(text: &str, number: Option<f64>) -> Self {
        let parts = text.split('*').map(str::to_owned).collect();
        Self::Text { parts, number }
    }

    fn matches(&self, text: &str, number: Option<f64>) -> bool {
        match self {
            Self::Regex(regex) => regex.is_match(text),
            Self::Text {
                parts,
                number: wanted,
            } => (wanted.is_some() && *wanted == number) || is_like(text, parts),
        }
    }
}

/// A value without quotation marks.
fn bare<'a>(scanner: &mut Scanner<'a>, ends: &str) -> &'a str {
    scanner.until(|letter| letter.is_whitespace() || ends.contains(letter))
}

/// Whether a text is these parts with anything between them.
fn is_like(text: &str, parts: &[String]) -> bool {
    let Some((first, others)) = parts.split_first() else {
        return false;
    };
    let Some((last, middle)) = others.split_last() else {
        return text == first;
    };
    let Some(mut rest) = text.strip_prefix(first.as_str()) else {
        return false;
    };
    for part in middle {
        match rest.find(part.as_str()) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last.as_str())
}
