//! `.dockerignore`: which files of a folder are left out of its zip.
//!
//! One pattern a line. `#` begins a comment, `!` includes again, the last matching pattern decides. `*` and `?` stay
//! within one part of a path, `**` matches any number of parts, `[a-c]` one character of a set. A pattern that matches
//! a folder matches everything in it. (Reference: docs.docker.com, "Build context", section ".dockerignore files".
//! Where that is silent: what `ignorefile` and `patternmatcher` of Docker do.)

use std::iter::Peekable;
use std::str::Chars;

use anyhow::{Result, bail};

/// The patterns of one file.
#[derive(Debug, Default)]
pub(super) struct Ignore {
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    pattern: Vec<Token>,
    takes_back: bool,
}

/// A piece of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Character(char),
    /// `?`: one character of a part.
    One,
    /// `*`: any number of characters of a part.
    Part,
    /// `**`: anything.
    Any,
    /// The rest of `**/` may be left out: the next token is skipped.
    Optional,
    /// `**/`: anything up to a slash.
    UpToSlash,
    /// `[a-c]`: one character of these ranges, or of none of them.
    Set {
        ranges: Vec<(char, char)>,
        is_negated: bool,
    },
}

/// Files that a build needs whatever the patterns say. Patterns that name them keep them out of `COPY`, in the builder.
const NEEDED: [&str; 3] = ["Dockerfile", ".dockerignore", "Dockerfile.dockerignore"];

impl Ignore {
    pub(super) fn parse(text: &str) -> Result<Self> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut rules = Vec::new();
        for (index, line) in text.lines().enumerate() {
            // Docker looks for the `#` before it cuts spaces off.
            if line.starts_with('#') {
                continue;
            }
            let line = line.trim();
            let (pattern, takes_back) = match line.strip_prefix('!') {
                Some(rest) => (rest.trim(), true),
                None => (line, false),
            };
            let number = index + 1;
            if pattern.is_empty() {
                if takes_back {
                    bail!("line {number}: ! stands before nothing");
                }
                continue;
            }
            match tokens(&clean(pattern)) {
                Some(pattern) => rules.push(Rule {
                    pattern,
                    takes_back,
                }),
                None => bail!("line {number}: {pattern:?} is no pattern: a [ or \\ has no end"),
            }
        }
        Ok(Self { rules })
    }

    /// Whether the file or folder with this path (relative, slashes between its parts) is left out.
    pub(super) fn excludes(&self, path: &str) -> bool {
        if NEEDED.contains(&path) {
            return false;
        }
        let ends = path.match_indices('/').map(|(end, _)| end);
        let above: Vec<&str> = ends.map(|end| &path[..end]).chain([path]).collect();
        let matches = |rule: &&Rule| above.iter().any(|path| is_match(&rule.pattern, path));
        let last = self.rules.iter().rev().find(matches);
        last.is_some_and(|rule| !rule.takes_back)
    }
}

/// As Go's `filepath.Clean`, and without a slash at its beginning.
fn clean(pattern: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in pattern.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            // Nothing is above the root.
            ".." if pattern.starts_with('/') => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// `None` if the pattern is malformed.
fn tokens(pattern: &str) -> Option<Vec<Token>> {
    let mut rest = pattern.chars().peekable();
    let mut tokens = Vec::new();
    while let Some(character) = rest.next() {
        let token = match character {
            '*' if rest.next_if_eq(&'*').is_some() => match rest.next_if_eq(&'/') {
                Some(_) => {
                    tokens.push(Token::Optional);
                    Token::UpToSlash
                }
                None => Token::Any,
            },
            '*' => Token::Part,
            '?' => Token::One,
            '\\' => Token::Character(rest.next()?),
            '[' => set(&mut rest)?,
            character => Token::Character(character),
        };
        tokens.push(token);
    }
    Some(tokens)
}

/// What stands behind a `[`, up to its `]`.
fn set(rest: &mut Peekable<Chars<'_>>) -> Option<Token> {
    let is_negated = rest.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    loop {
        let low = match rest.next()? {
            ']' if !ranges.is_empty() => return Some(Token::Set { ranges, is_negated }),
            '\\' => rest.next()?,
            character => character,
        };
        let mut high = low;
        if rest.next_if_eq(&'-').is_some() {
            if rest.peek() == Some(&']') {
                ranges.push(('-', '-'));
            } else {
                high = rest.next()?;
            }
        }
        ranges.push((low, high));
    }
}

/// Follows all ways through the pattern at once, so that no pattern takes long.
fn is_match(pattern: &[Token], path: &str) -> bool {
    // Whether the tokens before an index match the path so far.
    let mut reached = vec![false; pattern.len() + 1];
    reached[0] = true;
    skip_empty(pattern, &mut reached);
    for character in path.chars() {
        let mut next = vec![false; pattern.len() + 1];
        let is_in_part = character != '/';
        for (index, token) in pattern
            .iter()
            .enumerate()
            .filter(|(index, _)| reached[*index])
        {
            match token {
                Token::Character(wanted) => next[index + 1] |= *wanted == character,
                Token::One => next[index + 1] |= is_in_part,
                Token::Part => next[index] |= is_in_part,
                Token::Any => next[index] = true,
                Token::Optional => {}
                Token::UpToSlash => {
                    next[index] = true;
                    next[index + 1] |= !is_in_part;
                }
                Token::Set { ranges, is_negated } => {
                    let holds = |(low, high): &(char, char)| (*low..=*high).contains(&character);
                    next[index + 1] |= is_in_part && ranges.iter().any(holds) != *is_negated;
                }
            }
        }
        skip_empty(pattern, &mut next);
        reached = next;
    }
    reached[pattern.len()]
}

/// Goes past tokens that also match nothing.
fn skip_empty(pattern: &[Token], reached: &mut [bool]) {
    for (index, token) in pattern.iter().enumerate() {
        if !reached[index] {
            continue;
        }
        match token {
            Token::Part | Token::Any => reached[index + 1] = true,
            Token::Optional => {
                reached[index + 1] = true;
                reached[index + 2] = true;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excluded(rules: &str, path: &str) -> bool {
        Ignore::parse(rules).unwrap().excludes(path)
    }

    #[test]
    fn patterns_mean_what_docker_means() {
        for (rules, path, expected) in [
            ("*.log", "a.log", true),
            ("*.log", "b/a.log", false),
            ("**/*.log", "a.log", true),
            ("**/*.log", "b/c/a.log", true),
            ("/target", "target/debug/x", true),
            ("target/", "target", true),
            ("target", "mytarget", false),
            ("a/**/z", "a/z", true),
            ("a/**/z", "a/b/c/z", true),
            ("a/**/z", "a/bz", false),
            ("a/**", "a/b", true),
            ("a/**", "a", false),
            ("a**b", "a/x/b", true),
            ("**", "a/b", true),
            ("**/b", "ab", false),
            ("file?.txt", "file1.txt", true),
            ("file?.txt", "file10.txt", false),
            ("a?b", "a/b", false),
            ("[a-c].txt", "b.txt", true),
            ("[^a-c].txt", "b.txt", false),
            ("[^a-c].txt", "d.txt", true),
            ("\\*.txt", "*.txt", true),
            ("\\*.txt", "a.txt", false),
            ("a.b", "axb", false),
            ("# *.md\n\n.git", "a.md", false),
            ("# *.md\n\n.git", ".git/config", true),
            // Only at the beginning of its line it is a comment.
            (" #a", "#a", true),
            ("./a", "a", true),
            ("a/../b//c", "b/c", true),
            ("../a", "a", false),
            ("/../a", "a", true),
            ("  a  ", "a", true),
            ("! a\na", "a", true),
            ("a\r\nb\r\n", "a", true),
            (".", "a", false),
        ] {
            assert_eq!(excluded(rules, path), expected, "{rules:?} {path}");
        }
    }

    #[test]
    fn the_last_match_decides() {
        assert!(excluded("*.md\n!README.md", "NEWS.md"));
        assert!(!excluded("*.md\n!README.md", "README.md"));
        assert!(excluded("!README.md\n*.md", "README.md"));
        assert!(!excluded("docs\n!docs/keep", "docs/keep/x"));
        assert!(excluded("*\n!src\nsrc/**/*.o", "src/a/b.o"));
        assert!(!excluded("*\n!src\nsrc/**/*.o", "src/a/b.c"));
    }

    #[test]
    fn what_the_builder_needs_is_always_there() {
        for path in NEEDED {
            assert!(!excluded("*", path));
        }
        assert!(excluded("*", "app.py"));
        assert!(excluded("*", "sub/Dockerfile"));
    }

    #[test]
    fn malformed_patterns_have_a_line() {
        for (text, said) in [("a\n[b", "line 2"), ("a\\", "line 1"), ("\n!", "line 2")] {
            let error = Ignore::parse(text).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn no_pattern_takes_long() {
        let pattern = "**/*a*".repeat(50);
        let path = "b/".repeat(2000);
        assert!(!excluded(&pattern, path.trim_end_matches('/')));
    }
}
