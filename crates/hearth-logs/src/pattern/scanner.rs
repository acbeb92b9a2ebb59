//! Reads the text of a pattern from its beginning to its end.

use regex::{Regex, RegexBuilder};

use super::PatternError;

/// Memory of one compiled regular expression: those of log lines take some KiB.
const MAX_REGEX_BYTES: usize = 256 << 10;

/// The text, and how far it was read.
#[derive(Debug)]
pub(super) struct Scanner<'a> {
    text: &'a str,
    rest: &'a str,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, rest: text }
    }

    /// The next character that is no space.
    pub(super) fn peek(&mut self) -> Option<char> {
        self.rest = self.rest.trim_start();
        self.rest.chars().next()
    }

    /// Leaves out one character.
    pub(super) fn skip(&mut self) {
        let mut rest = self.rest.chars();
        rest.next();
        self.rest = rest.as_str();
    }

    /// Reads this, if it stands next, after spaces.
    pub(super) fn eat(&mut self, text: &str) -> bool {
        self.peek();
        self.eat_here(text)
    }

    /// Reads this, if it stands right here.
    pub(super) fn eat_here(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// Reads this word, if it stands next in letters of either case.
    pub(super) fn eat_word(&mut self, word: &str) -> bool {
        self.peek();
        let end = self
            .rest
            .find(|letter: char| !letter.is_ascii_alphabetic())
            .unwrap_or(self.rest.len());
        let is_next = self.rest[..end].eq_ignore_ascii_case(word);
        if is_next {
            self.rest = &self.rest[end..];
        }
        is_next
    }

    /// Reads up to a character of this kind, which stays.
    pub(super) fn until(&mut self, is_end: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(is_end).unwrap_or(self.rest.len());
        let (read, rest) = self.rest.split_at(end);
        self.rest = rest;
        read
    }

    /// Reads a text in quotation marks, if one stands next. A backslash takes the next character as it is.
    pub(super) fn quoted(&mut self) -> Result<Option<String>, PatternError> {
        if !self.eat("\"") {
            return Ok(None);
        }
        let mut text = String::new();
        let mut rest = self.rest.chars();
        while let Some(letter) = rest.next() {
            match letter {
                '"' => {
                    self.rest = rest.as_str();
                    return Ok(Some(text));
                }
                '\\' => text.extend(rest.next()),
                _ => text.push(letter),
            }
        }
        self.rest = "";
        Err(self.expected("a quotation mark"))
    }

    /// Reads a regular expression between percent signs, if one stands next.
    pub(super) fn regex(&mut self) -> Result<Option<Regex>, PatternError> {
        if !self.eat("%") {
            return Ok(None);
        }
        let text = self.until(|letter| letter == '%');
        if !self.eat_here("%") {
            return Err(self.expected("a percent sign at the end of the regular expression"));
        }
        let refused = || PatternError::Regex(text.to_owned());
        let is_taken = |letter: char| {
            letter.is_ascii_alphanumeric() || r"_#=@/;,-^$?[]{}|\*+. ".contains(letter)
        };
        if text.is_empty() || !text.chars().all(is_taken) {
            return Err(refused());
        }
        let regex = RegexBuilder::new(text).size_limit(MAX_REGEX_BYTES).build();
        regex.map(Some).map_err(|_| refused())
    }

    /// What is wrong here.
    pub(super) fn expected(&self, expected: &'static str) -> PatternError {
        let read = self.text.len() - self.rest.len();
        PatternError::Unexpected {
            at: self.text[..read].chars().count() + 1,
            expected,
        }
    }
}
