//! Rules about documents: targets of links exist, and so do the files and functions that the documents name.
//!
//! ARCHITECTURE.md and `docs/design/` name files and functions in a form that a machine can check:
//!
//! - `` `hearth-node/src/warm.rs` `` is a path. It begins with a crate, or with a directory of the repository.
//! - `` `restore()` `` is a function or a test of a file that was named before it in the same table row, bullet or paragraph.
//!   `` `Node::suspend()` `` is the same with its type for the reader.
//!
//! Other text in backticks is not checked. Relative links and their anchors are checked in all documents.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::sources::tracked_files;

/// The page that a newcomer reads first, and its most lines: details belong into the design notes.
const PAGE: (&str, usize) = ("ARCHITECTURE.md", 200);

pub(super) fn complaints(root: &Path) -> Result<Vec<String>> {
    let mut tree = Tree::default();
    for path in tracked_files(root, "*")? {
        // A deleted file stays in git's index until the deletion is committed.
        if !root.join(&path).is_file() {
            continue;
        }
        let is_read = [".md", ".rs", ".py"].iter().any(|end| path.ends_with(end));
        let text = if is_read {
            fs::read_to_string(root.join(&path)).with_context(|| format!("cannot read {path}"))?
        } else {
            String::new()
        };
        tree.files.insert(path, text);
    }
    Ok(judge(&tree))
}

fn judge(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for (path, text) in tree.documents() {
        complaints.extend(broken_links(path, text, tree));
        if path == PAGE.0 || path.starts_with("docs/design/") {
            complaints.extend(wrong_names(path, text, tree));
        }
        let lines = text.lines().count();
        if path == PAGE.0 && lines > PAGE.1 {
            complaints.push(format!(
                "{path} has {lines} lines, more than {}: move details to docs/design",
                PAGE.1
            ));
        }
    }
    complaints
}

/// The files of the repository by path: the text of documents and sources, and nothing of others.
#[derive(Default)]
struct Tree {
    files: BTreeMap<String, String>,
}

impl Tree {
    fn documents(&self) -> impl Iterator<Item = (&str, &str)> {
        let files = self.files.iter().filter(|(path, _)| path.ends_with(".md"));
        files.map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// The place in the repository of a path in a document. `None` if the text is not such a path.
    fn place(&self, text: &str) -> Option<String> {
        // What begins with a slash is a path of a host, or of a request.
        let (first, _) = text
            .split_once('/')
            .filter(|(first, _)| !first.is_empty())?;
        let of_crate = format!("crates/{first}");
        if self.exists(&of_crate) {
            Some(format!("crates/{text}"))
        } else {
            self.exists(first).then(|| text.to_owned())
        }
    }

    /// Whether there is such a file or directory.
    fn exists(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        let below = format!("{path}/");
        let mut at_or_after = self.files.range(below.clone()..);
        self.files.contains_key(path)
            || at_or_after
                .next()
                .is_some_and(|(next, _)| next.starts_with(&below))
    }

    /// Whether a file defines a function (Rust or Python).
    fn defines(&self, path: &str, function: &str) -> bool {
        self.files
            .get(path)
            .is_some_and(|text| defines(text, function))
    }
}

fn defines(text: &str, function: &str) -> bool {
    ["fn ", "def "].iter().any(|keyword| {
        let definition = format!("{keyword}{function}");
        let mut found = text.match_indices(&definition);
        found.any(|(at, _)| text[at + definition.len()..].starts_with(['(', '<']))
    })
}

/// Complaints about paths that do not exist, and functions that are not in the named file.
fn wrong_names(document: &str, text: &str, tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut files: Vec<String> = Vec::new();
    for (number, line) in prose(text) {
        if begins_block(line) {
            files.clear();
        }
        for code in code_spans(line) {
            let place = format!("{document}:{number}");
            if is_pattern(code) {
                continue;
            }
            if let Some(function) = code.strip_suffix("()") {
                let name = function.rsplit("::").next().unwrap_or(function);
                if files.is_empty() {
                    complaints.push(format!("{place}: name the file of {code} before it"));
                } else if !files.iter().any(|file| tree.defines(file, name)) {
                    complaints.push(format!("{place}: {code} is not in {}", files.join(", ")));
                }
            } else if let Some(path) = tree.place(code) {
                if !tree.exists(&path) {
                    complaints.push(format!("{place}: {code} does not exist"));
                }
                files.push(path);
            } else if code.ends_with(".rs") {
                complaints.push(format!("{place}: begin {code} with its crate"));
            }
        }
    }
    complaints
}

/// Whether a line begins a row, an item, a heading or a paragraph. Functions after it do not refer to files before it.
fn begins_block(line: &str) -> bool {
    let text = line.trim_start();
    let (digits, rest) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(0));
    let is_numbered = !digits.is_empty() && rest.starts_with(". ");
    text.is_empty() || text.starts_with(['|', '#']) || text.starts_with("- ") || is_numbered
}

/// Whether the text stands for many files, or for a command.
fn is_pattern(code: &str) -> bool {
    code.contains(['*', '<', '{', ' ', '$'])
}

/// The lines outside fenced blocks, with their numbers from 1.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_fenced = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let is_fence = line.trim_start().starts_with("```");
        is_fenced ^= is_fence;
        (!is_fenced && !is_fence).then_some((index + 1, line))
    })
}

/// The texts between backticks.
fn code_spans(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// Complaints about relative links of a document to missing files or headings.
fn broken_links(document: &str, text: &str, tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for (number, line) in prose(text) {
        for target in link_targets(line).filter(|target| !target.contains(':')) {
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = resolve(document, file);
            let has_anchor = |text: &String| anchor.is_empty() || anchors(text).contains(anchor);
            let is_sound = match tree.files.get(&path) {
                Some(text) => has_anchor(text),
                None => anchor.is_empty() && tree.exists(&path),
            };
            if !is_sound {
                complaints.push(format!("{document}:{number}: {target} leads nowhere"));
            }
        }
    }
    complaints
}

/// The targets of the links of a line.
fn link_targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')').map(|(target, _)| target))
}

/// A link's path, from the top of the repository.
fn resolve(document: &str, link: &str) -> String {
    if link.is_empty() {
        return document.to_owned();
    }
    let mut parts: Vec<&str> = document.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    parts.join("/")
}

/// The anchors of a document's headings, as GitHub makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for (_, line) in prose(text).filter(|(_, line)| line.starts_with('#')) {
        let slug: String = line
            .trim_start_matches('#')
            .trim()
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
            .map(|c| {
                if c == ' ' {
                    '-'
                } else {
                    c.to_ascii_lowercase()
                }
            })
            .collect();
        // The second heading with the same words gets a number.
        let mut anchor = slug.clone();
        let mut number = 0;
        while !anchors.insert(anchor.clone()) {
            number += 1;
            anchor = format!("{slug}-{number}");
        }
    }
    anchors
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of a design note with this text, in a repository with one crate.
    fn judged(text: &str) -> Vec<String> {
        let rust = "fn boot_warm<F>() {}\nasync fn booted() {}\n";
        let other = "# Other\n\n## The `first` part, again\n\n## Part\n\n## Part\n";
        let files = [
            ("crates/hearth-node/src/warm.rs", rust),
            ("docs/design/a.md", text),
            ("docs/other.md", other),
            ("tests/test_it.py", "def test_works(hearth):\n    pass\n"),
        ];
        let files = files.map(|(path, text)| (path.to_owned(), text.to_owned()));
        judge(&Tree {
            files: files.into(),
        })
    }

    #[test]
    fn what_is_there_may_be_named() {
        let text = "\
| `hearth-node/src/warm.rs` | `Node::boot_warm()`, `booted()` |
- See `tests/test_it.py`,
  `test_works()`; files like `docs/design/*.md`, `machine.json` and `/dev/kvm`, commands like `hearth up`.
```text
`hearth-node/src/drawn.rs` is a drawing
```
[other](../other.md), [part](../other.md#the-first-part-again), [twice](../other.md#part-1), [AWS](https://aws.amazon.com/x)
";
        assert_eq!(judged(text), Vec::<String>::new());
    }

    #[test]
    fn files_that_moved_are_noticed() {
        let complaints = judged("`hearth-node/src/cold.rs` and `tests/nothing.py`\n");
        assert_eq!(complaints.len(), 2, "{complaints:?}");
        assert_eq!(judged("beside `warm.rs`\n").len(), 1);
    }

    #[test]
    fn functions_are_looked_for_in_the_files_named_before() {
        let complaints = judged("`hearth-node/src/warm.rs`: `boot()`\n");
        assert_eq!(
            complaints,
            ["docs/design/a.md:1: boot() is not in crates/hearth-node/src/warm.rs"]
        );
        let later = judged("`hearth-node/src/warm.rs` has\n`booted()`\n");
        assert_eq!(later, Vec::<String>::new());
        for next_block in ["\n", "- ", "| ", "2. "] {
            let text = format!("`hearth-node/src/warm.rs`\n{next_block}`booted()`\n");
            assert_eq!(judged(&text).len(), 1, "{text}");
        }
    }

    #[test]
    fn links_and_anchors_lead_somewhere() {
        for link in [
            "b.md",
            "../other.md#third",
            "#here",
            "../../crates/hearth-vmm",
        ] {
            assert_eq!(judged(&format!("[link]({link})\n")).len(), 1, "{link}");
        }
        assert!(judged("## Here\n\n[link](#here)\n").is_empty());
    }

    #[test]
    fn the_page_stays_one() {
        let page = |lines: usize| Tree {
            files: BTreeMap::from([(PAGE.0.to_owned(), "\n".repeat(lines))]),
        };
        assert!(judge(&page(PAGE.1)).is_empty());
        assert_eq!(judge(&page(PAGE.1 + 1)).len(), 1);
    }
}
