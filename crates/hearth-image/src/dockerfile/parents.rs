//! `COPY --parents`, which keeps the folders that a source is named with. buildah 1.39 does not know it.
//!
//! ```text
//! COPY --parents a/b.txt c/*.md /to        as buildah reads it: COPY --exclude=** --exclude=!a/b.txt --exclude=!c/*.md . /to/
//! COPY --parents x/./y/z /to               the part before `/./` is not kept: COPY --exclude=** --exclude=!x/y/z x /to/
//! ```
//!
//! (Dockerfile reference, "COPY --parents".) The whole folder is copied but for what no source names.

use super::Refusal;
use super::edit::Edits;
use super::parse::{Instruction, Word, is_json, opens_heredoc};

/// A source that has to be there: it has no pattern, and buildah would leave it out in silence beside others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamedSource {
    /// The line of the instruction.
    pub(crate) line: usize,
    /// From the root of the context on.
    pub(crate) path: String,
}

/// Longest path of a source: Linux takes no longer ones.
const MAX_PATH_BYTES: usize = 4096;

/// Puts the instruction into buildah's words. Answers the sources of the context that have to be there.
pub(super) fn rewrite(
    instruction: &Instruction,
    flag: &Word,
    edits: &mut Edits,
) -> Result<Vec<NamedSource>, Refusal> {
    let line = instruction.line;
    let refuse = |what: String| Refusal::new(line, format!("COPY --parents {what}"));
    if is_json(instruction) {
        return Err(refuse(
            "with names in brackets is not supported; write them without".to_owned(),
        ));
    }
    let flags = instruction.flags();
    if flags.iter().any(|flag| flag.text.starts_with("--exclude=")) {
        return Err(refuse(
            "with --exclude is not supported; name what is to be copied".to_owned(),
        ));
    }
    let Some((destination, sources)) = instruction.arguments().split_last() else {
        return Ok(Vec::new());
    };
    let mut roots: Vec<&str> = Vec::new();
    let mut patterns = vec!["--exclude=**".to_owned()];
    let mut named = Vec::new();
    let is_of_context = !flags.iter().any(|flag| flag.text.starts_with("--from="));
    for word in sources {
        let text = word.text.as_str();
        if text.len() > MAX_PATH_BYTES {
            return Err(refuse(format!(
                "of a path of {} bytes: {MAX_PATH_BYTES} are the most",
                text.len()
            )));
        }
        if opens_heredoc(word) || text.contains(['$', '"', '\'', '\\']) {
            return Err(refuse(format!(
                "of {text} is not supported: write a plain path, without variables and quotes"
            )));
        }
        let source = Source::of(text)
            .ok_or_else(|| refuse(format!("of {text}: a path has no '..' in it")))?;
        if !roots.contains(&source.root) {
            roots.push(source.root);
        }
        let path = source.path();
        if is_of_context && !path.contains(['*', '?', '[']) {
            named.push(NamedSource {
                line,
                path: path.clone(),
            });
        }
        patterns.push(format!("--exclude=!{path}"));
    }
    // What one source names would be found from both.
    let is_nested = |root: &&&str| {
        roots.iter().any(|other| {
            other != *root && (other.is_empty() || root.starts_with(&format!("{other}/")))
        })
    };
    if let Some(root) = roots.iter().find(is_nested) {
        return Err(refuse(format!(
            "of sources below {root}/./ beside others above it is not supported; use a COPY for each"
        )));
    }
    edits.replace(flag, line, &patterns.join(" "))?;
    let (lead, from_root) = match is_of_context {
        true => ("", "."),
        false => ("/", "/"),
    };
    let roots: Vec<String> = roots
        .iter()
        .map(|root| match *root {
            "" => from_root.to_owned(),
            root => format!("{lead}{root}"),
        })
        .collect();
    let mut roots = Some(roots.join(" "));
    for word in sources {
        edits.replace(word, line, &roots.take().unwrap_or_default())?;
    }
    if !destination.text.ends_with('/') {
        edits.replace(destination, line, &format!("{}/", destination.text))?;
    }
    Ok(named)
}

/// A path of a source, split where `/./` is.
struct Source<'a> {
    /// What is not kept. Empty: nothing.
    root: &'a str,
    /// What is kept. Empty: everything below the root.
    kept: &'a str,
}

impl<'a> Source<'a> {
    /// `None` if the path leads out of where it begins.
    fn of(text: &'a str) -> Option<Self> {
        let whole = text.trim_start_matches('/');
        let whole = whole.strip_prefix("./").unwrap_or(whole);
        let (root, kept) = whole.split_once("/./").unwrap_or(("", whole));
        let kept = kept.trim_matches('/');
        let source = Self {
            root: root.trim_matches('/'),
            kept: if kept == "." { "" } else { kept },
        };
        (!whole.split('/').any(|part| part == "..")).then_some(source)
    }

    fn path(&self) -> String {
        match (self.root, self.kept) {
            ("", "") => "**".to_owned(),
            ("", kept) => kept.to_owned(),
            (root, "") => format!("{root}/**"),
            (root, kept) => format!("{root}/{kept}"),
        }
    }
}
