//! `.dockerignore`: which files of a folder are left out of its build.
//!
//! One pattern a line. `#` begins a comment, `!` includes again, the last matching pattern decides. `*` and `?` stay
//! within one part of a path, `**` matches any number of parts, `[a-c]` one character of a set. A pattern that matches
//! a folder matches everything in it. (Reference: docs.docker.com, "Build context", section ".dockerignore files".)

/// The patterns of one file.
#[derive(Debug, Default)]
pub(super) struct Ignore {
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    parts: Vec<String>,
    takes_back: bool,
}

/// Never excluded: the build needs the Dockerfile.
const DOCKERFILE: &str = "Dockerfile";

impl Ignore {
    pub(super) fn parse(text: &str) -> Self {
        let rules = text.lines().filter_map(|line| {
            let line = line.trim();
            if line.starts_with('#') {
                return None;
            }
            let (pattern, takes_back) = match line.strip_prefix('!') {
                Some(rest) => (rest.trim(), true),
                None => (line, false),
            };
            let parts: Vec<_> = pattern
                .split('/')
                .filter(|part| !part.is_empty() && *part != ".")
                .map(str::to_owned)
                .collect();
            (!parts.is_empty()).then_some(Rule { parts, takes_back })
        });
        Self {
            rules: rules.collect(),
        }
    }

    /// Whether the file with this path (its parts, relative to the folder) is left out.
    pub(super) fn excludes(&self, path: &[&str]) -> bool {
        if path == [DOCKERFILE] {
            return false;
        }
        let matches =
            |rule: &&Rule| (1..=path.len()).any(|end| is_match(&rule.parts, &path[..end]));
        let last = self.rules.iter().rev().find(matches);
        last.is_some_and(|rule| !rule.takes_back)
    }
}

fn is_match(pattern: &[String], path: &[&str]) -> bool {
    match (pattern.split_first(), path.split_first()) {
        (None, None) => true,
        (Some((first, rest)), _) if first == "**" => {
            (0..=path.len()).any(|skipped| is_match(rest, &path[skipped..]))
        }
        (Some((first, rest)), Some((part, below))) => {
            let first: Vec<_> = first.chars().collect();
            let part: Vec<_> = part.chars().collect();
            part_matches(&first, &part) && is_match(rest, below)
        }
        _ => false,
    }
}

fn part_matches(pattern: &[char], text: &[char]) -> bool {
    match pattern {
        [] => text.is_empty(),
        ['*', rest @ ..] => (0..=text.len()).any(|taken| part_matches(rest, &text[taken..])),
        ['[', rest @ ..] => match (rest.iter().position(|character| *character == ']'), text) {
            (Some(end), [first, below @ ..]) if end > 0 => {
                is_in_set(&rest[..end], *first) && part_matches(&rest[end + 1..], below)
            }
            _ => false,
        },
        ['\\', literal, rest @ ..] | [literal, rest @ ..] => match text {
            [first, below @ ..] => {
                let fits = first == literal || (*literal == '?' && pattern[0] != '\\');
                fits && part_matches(rest, below)
            }
            [] => false,
        },
    }
}

/// `a-c` and single characters; `^` first means all others.
fn is_in_set(set: &[char], character: char) -> bool {
    let (set, is_negated) = match set {
        ['^', rest @ ..] => (rest, true),
        _ => (set, false),
    };
    let mut rest = set;
    let mut found = false;
    loop {
        rest = match rest {
            [low, '-', high, after @ ..] => {
                found |= (*low..=*high).contains(&character);
                after
            }
            [one, after @ ..] => {
                found |= *one == character;
                after
            }
            [] => return found != is_negated,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excluded(rules: &str, path: &str) -> bool {
        let parts: Vec<_> = path.split('/').collect();
        Ignore::parse(rules).excludes(&parts)
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
            ("a/**", "a/b", true),
            ("file?.txt", "file1.txt", true),
            ("file?.txt", "file10.txt", false),
            ("[a-c].txt", "b.txt", true),
            ("[^a-c].txt", "b.txt", false),
            ("\\*.txt", "*.txt", true),
            ("\\*.txt", "a.txt", false),
            ("# *.md\n\n.git", "a.md", false),
            ("# *.md\n\n.git", ".git/config", true),
            ("./a", "a", true),
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
    }

    #[test]
    fn the_dockerfile_is_always_there() {
        assert!(!excluded("*", "Dockerfile"));
        assert!(excluded("*", "app.py"));
    }
}
