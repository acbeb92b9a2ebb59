//! Licences, banned crates and sources, by the lists in `deny.toml`.
//!
//! cargo-deny checks the same and more, but takes minutes to build. This check runs everywhere within a second.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::Metadata;

/// Where crates may come from, as cargo names it.
const CRATES_IO: &[&str] = &[
    "registry+https://github.com/rust-lang/crates.io-index",
    "sparse+https://index.crates.io/",
];

/// The parts of `deny.toml` that are checked.
#[derive(Debug, Deserialize)]
pub(super) struct Policy {
    licenses: Licenses,
    bans: Bans,
}

#[derive(Debug, Deserialize)]
struct Licenses {
    allow: BTreeSet<String>,
}

#[derive(Debug, Deserialize)]
struct Bans {
    deny: Vec<Ban>,
}

#[derive(Debug, Deserialize)]
struct Ban {
    name: String,
    reason: String,
}

pub(super) fn complaints(metadata: &Metadata, policy: &Policy) -> Vec<String> {
    let mut complaints = Vec::new();
    for package in &metadata.packages {
        let place = format!("{} {}", package.name, package.version);
        let licence = package.license.as_deref().unwrap_or_default();
        if !is_allowed(licence, &policy.licenses.allow) {
            complaints.push(format!(
                "{place} has the licence {licence:?}, which deny.toml does not allow"
            ));
        }
        if let Some(ban) = policy.bans.deny.iter().find(|ban| ban.name == package.name) {
            complaints.push(format!("{place} is banned: {}", ban.reason));
        }
        if let Some(source) = &package.source
            && !CRATES_IO.contains(&source.as_str())
        {
            complaints.push(format!("{place} comes from {source}, not from crates.io"));
        }
    }
    complaints
}

/// Evaluates an SPDX expression (Annex D of the specification): `OR`, `AND`, `WITH`, parentheses, and the slash
/// that older crates use for `OR`.
fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut parser = Parser {
        words: &words,
        allowed,
    };
    let verdict = parser.any();
    verdict == Some(true) && parser.words.is_empty()
}

/// Each method answers `None` where the expression is malformed.
struct Parser<'a> {
    words: &'a [&'a str],
    allowed: &'a BTreeSet<String>,
}

impl Parser<'_> {
    fn any(&mut self) -> Option<bool> {
        let mut verdict = self.all()?;
        while self.takes("OR") {
            verdict |= self.all()?;
        }
        Some(verdict)
    }

    fn all(&mut self) -> Option<bool> {
        let mut verdict = self.one()?;
        while self.takes("AND") {
            verdict &= self.one()?;
        }
        Some(verdict)
    }

    fn one(&mut self) -> Option<bool> {
        if self.takes("(") {
            let verdict = self.any()?;
            return self.takes(")").then_some(verdict);
        }
        let mut licence = (*self.next()?).to_owned();
        if self.takes("WITH") {
            licence = format!("{licence} WITH {}", self.next()?);
        }
        Some(self.allowed.contains(&licence))
    }

    fn takes(&mut self, word: &str) -> bool {
        let is_next = self.words.first() == Some(&word);
        if is_next {
            self.words = &self.words[1..];
        }
        is_next
    }

    fn next(&mut self) -> Option<&str> {
        let (first, rest) = self.words.split_first()?;
        self.words = rest;
        Some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(expression: &str) -> bool {
        let list = ["MIT", "Apache-2.0", "ISC", "Apache-2.0 WITH LLVM-exception"];
        is_allowed(expression, &list.map(str::to_owned).into())
    }

    #[test]
    fn expressions_are_evaluated() {
        assert!(allowed("MIT"));
        assert!(allowed("GPL-3.0 OR MIT"));
        assert!(allowed("MIT/GPL-2.0"));
        assert!(allowed("Apache-2.0 AND ISC"));
        assert!(allowed("(GPL-3.0 OR MIT) AND ISC"));
        assert!(allowed("Apache-2.0 WITH LLVM-exception OR GPL-3.0"));
        assert!(!allowed("Apache-2.0 AND GPL-3.0"));
        assert!(!allowed("GPL-3.0"));
        assert!(!allowed("MIT WITH Some-exception"));
    }

    #[test]
    fn a_malformed_expression_is_not_allowed() {
        for expression in ["", "MIT OR", "(MIT", "MIT ISC", "MIT )"] {
            assert!(!allowed(expression), "{expression:?}");
        }
    }
}
