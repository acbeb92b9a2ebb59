//! How requests name functions: by name, partial ARN or ARN, with or without a qualifier.
//!
//! ```text
//! NAME[:QUALIFIER]
//! ACCOUNT:function:NAME[:QUALIFIER]       function:NAME, ACCOUNT:NAME and REGION:… are taken as well
//! arn:aws:lambda:REGION:ACCOUNT:function:NAME[:QUALIFIER]
//! ```

use std::fmt;
use std::str::FromStr;

/// A text names no function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// The text has none of the forms above.
    #[error("not the name of a function")]
    Malformed,
    /// The name has one qualifier, and the request another.
    #[error("the name has another qualifier than the request")]
    OtherQualifier,
}

/// The longest name of a function, in characters.
pub(crate) const MAX_NAME: usize = 64;

/// The name of a function: 1-64 of `[a-zA-Z0-9-_]`, unique to its owner.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FunctionName(String);

impl FunctionName {
    /// The text itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FunctionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for FunctionName {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if is_word(text) && text.len() <= MAX_NAME {
            Ok(Self(text.to_owned()))
        } else {
            Err(ReferenceError::Malformed)
        }
    }
}

/// The version of a function: `$LATEST`, which changes, or a number, which was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum VersionId {
    /// What the last create or update has made.
    Latest,
    /// A published version. Counts from one.
    Number(u32),
}

impl VersionId {
    /// As the store has it: `$LATEST` is zero.
    pub(crate) fn number(self) -> u32 {
        match self {
            Self::Latest => 0,
            Self::Number(number) => number,
        }
    }

    pub(crate) fn from_number(number: u32) -> Self {
        match number {
            0 => Self::Latest,
            number => Self::Number(number),
        }
    }
}

impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str("$LATEST"),
            Self::Number(number) => number.fmt(f),
        }
    }
}

impl FromStr for VersionId {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text == "$LATEST" {
            return Ok(Self::Latest);
        }
        let is_canonical = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
        let number = text.parse().ok().filter(|_| is_canonical);
        number.map(Self::Number).ok_or(ReferenceError::Malformed)
    }
}

/// What stands behind a name: a version or an alias.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Qualifier {
    /// `$LATEST` or a number. A number that no version can have is [`Qualifier::NoVersion`].
    Version(VersionId),
    /// An alias. Its name is not only digits.
    Alias(String),
    /// Digits that are no version of any function, as the request has them.
    NoVersion(String),
}

impl FromStr for Qualifier {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if let Ok(version) = text.parse() {
            return Ok(Self::Version(version));
        }
        if !is_word(text) {
            return Err(ReferenceError::Malformed);
        }
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        Ok(if is_number {
            Self::NoVersion(text.to_owned())
        } else {
            Self::Alias(text.to_owned())
        })
    }
}

impl fmt::Display for Qualifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => version.fmt(f),
            Self::Alias(text) | Self::NoVersion(text) => f.write_str(text),
        }
    }
}

/// A function as a request names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionRef {
    /// The region, if the name has one.
    pub region: Option<String>,
    /// The account, if the name has one.
    pub account: Option<String>,
    /// The name itself. It may be longer than a name can be: then there is no such function.
    pub name: String,
    /// The qualifier, if there is one.
    pub qualifier: Option<Qualifier>,
}

impl FunctionRef {
    /// Adds the qualifier of the request to a name that may have one itself.
    ///
    /// # Errors
    ///
    /// [`ReferenceError`].
    pub fn qualified(self, qualifier: Option<&str>) -> Result<Self, ReferenceError> {
        let Some(qualifier) = qualifier else {
            return Ok(self);
        };
        let qualifier: Qualifier = qualifier.parse()?;
        match &self.qualifier {
            Some(own) if *own != qualifier => Err(ReferenceError::OtherQualifier),
            _ => Ok(Self {
                qualifier: Some(qualifier),
                ..self
            }),
        }
    }
}

impl FromStr for FunctionRef {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let (text, is_arn) = match text.strip_prefix("arn:aws:lambda:") {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        let mut parts = text.split(':').peekable();
        let region = parts.next_if(|part| is_region(part)).map(str::to_owned);
        let account = parts.next_if(|part| is_account(part)).map(str::to_owned);
        let has_kind = parts.next_if(|part| *part == "function").is_some();
        if is_arn && !(region.is_some() && account.is_some() && has_kind) {
            return Err(ReferenceError::Malformed);
        }
        let (name, account) = match (parts.next(), account) {
            (Some(name), account) => (name.to_owned(), account),
            // Twelve digits or the word itself alone are a name.
            (None, Some(name)) if !has_kind && region.is_none() => (name, None),
            (None, None) if has_kind => ("function".to_owned(), None),
            (None, _) => return Err(ReferenceError::Malformed),
        };
        let qualifier = parts.next().map(str::parse).transpose()?;
        if !is_word(&name) || parts.next().is_some() {
            return Err(ReferenceError::Malformed);
        }
        Ok(Self {
            region,
            account,
            name,
            qualifier,
        })
    }
}

fn is_word(text: &str) -> bool {
    let is_of_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !text.is_empty() && text.bytes().all(is_of_word)
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// `us-east-1`: letters, parts of letters, a digit.
fn is_region(text: &str) -> bool {
    let mut parts = text.split('-');
    let is_letters = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase());
    let first = parts.next().is_some_and(is_letters);
    let Some(last) = parts.next_back() else {
        return false;
    };
    let is_digit = last.len() == 1 && last.bytes().all(|byte| byte.is_ascii_digit());
    let mut middle = parts.peekable();
    first && is_digit && middle.peek().is_some() && middle.all(is_letters)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Region, account, name and qualifier. Empty where there is none.
    fn read(text: &str) -> Option<[String; 4]> {
        let read: FunctionRef = text.parse().ok()?;
        let qualifier = read.qualifier.map(|qualifier| qualifier.to_string());
        let (region, account) = (
            read.region.unwrap_or_default(),
            read.account.unwrap_or_default(),
        );
        Some([region, account, read.name, qualifier.unwrap_or_default()])
    }

    #[test]
    fn every_form_of_a_name_is_read() {
        let arn = "arn:aws:lambda:us-east-1:000000000001:function:f_-1";
        for qualifier in ["", "$LATEST", "3", "live"] {
            for (text, region, account) in [
                ("f_-1", "", ""),
                ("function:f_-1", "", ""),
                ("000000000001:f_-1", "", "000000000001"),
                ("000000000001:function:f_-1", "", "000000000001"),
                (arn, "us-east-1", "000000000001"),
            ] {
                let qualified = match qualifier {
                    "" => text.to_owned(),
                    qualifier => format!("{text}:{qualifier}"),
                };
                let wanted = [region, account, "f_-1", qualifier].map(str::to_owned);
                assert_eq!(read(&qualified), Some(wanted), "{qualified}");
            }
        }
        let digits = ["", "", "000000000001", ""].map(str::to_owned);
        assert_eq!(read("000000000001"), Some(digits));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in [
            "",
            ":",
            "f:",
            "f:a:b",
            "f:a b",
            "arn:aws:lambda:us-east-1:000000000001:layer:f",
            "arn:aws:lambda:000000000001:function:f",
            "arn:aws:s3:::f",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn two_qualifiers_have_to_be_the_same() {
        let named = |text: &str| text.parse::<FunctionRef>().unwrap();
        assert!(named("f:1").qualified(Some("1")).is_ok());
        assert!(named("f").qualified(Some("live")).is_ok());
        assert_eq!(
            named("f:1").qualified(Some("2")),
            Err(ReferenceError::OtherQualifier)
        );
    }
}
