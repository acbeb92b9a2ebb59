//! The Dockerfile of a build: judged before a builder starts, and put into the words of its buildah.
//!
//! ```text
//! text ──> parse ──> judge ──┬─> refusal: line, flag, what to write instead
//!                            └─> edits ──> text for buildah, with the same lines
//! ```
//!
//! The dialect is BuildKit's (docs.docker.com, "Dockerfile reference"). buildah reads most of it. What it reads in
//! another way is edited where an edit says the same. What is left is refused, and never ignored in silence.

mod edit;
mod instructions;
mod mounts;
mod parents;
mod parse;
mod pattern;
mod stages;
mod variables;

use std::fmt;

use edit::Edits;
pub(crate) use parents::NamedSource;

/// Frontends of `# syntax=` lines that the builder answers itself, whatever tag they have. Nothing is pulled.
const FRONTENDS: [&str; 4] = [
    "docker/dockerfile",
    "docker/dockerfile-upstream",
    "docker.io/docker/dockerfile",
    "docker.io/docker/dockerfile-upstream",
];

/// Sources of `COPY --parents` without a pattern. Each is looked for before the build.
const MAX_NAMED_SOURCES: usize = 1000;

/// Why a Dockerfile is not built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Dockerfile:{line}: {reason}")]
pub struct Refusal {
    /// From 1.
    pub line: usize,
    /// What is wrong, and what to write instead.
    pub reason: String,
}

impl Refusal {
    fn new(line: usize, reason: impl Into<String>) -> Self {
        Self {
            line,
            reason: reason.into(),
        }
    }
}

/// Judges a Dockerfile as a build does before it begins.
///
/// # Errors
///
/// What is not supported, with its line.
pub fn check_dockerfile(text: &str) -> Result<(), Refusal> {
    Dockerfile::read(text).map(drop)
}

/// A Dockerfile that buildah may build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dockerfile {
    /// In buildah's words, with the lines of the original.
    pub(crate) text: String,
    /// Line and beginning of each instruction, as the original has it.
    instructions: Vec<(usize, String)>,
    /// Whether a stage stands on an earlier one, or may do so.
    pub(crate) has_stage_on_stage: bool,
    /// What buildah would not miss if it were not there.
    pub(crate) named_sources: Vec<NamedSource>,
}

impl Dockerfile {
    /// Reads and judges a Dockerfile.
    pub(crate) fn read(text: &str) -> Result<Self, Refusal> {
        let parsed = parse::parse(text)?;
        if let Some((line, frontend)) = &parsed.syntax {
            check_frontend(*line, frontend)?;
        }
        let mut edits = Edits::default();
        let has_stage_on_stage = stages::judge(&parsed.instructions, &mut edits)?;
        let mut named_sources = Vec::new();
        for instruction in &parsed.instructions {
            instructions::judge(instruction, &mut edits)?;
            if let Some(flag) = instructions::parents(instruction) {
                named_sources.extend(parents::rewrite(instruction, flag, &mut edits)?);
                if named_sources.len() > MAX_NAMED_SOURCES {
                    return Err(Refusal::new(
                        instruction.line,
                        format!(
                            "there are more than {MAX_NAMED_SOURCES} sources of COPY --parents; use patterns"
                        ),
                    ));
                }
            }
        }
        variables::judge(&parsed.instructions, &mut edits)?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let text = edits.apply(text);
        let instructions = parse::parse(&text)?
            .instructions
            .iter()
            .map(|instruction| (instruction.line, Shown(instruction).to_string()))
            .collect();
        Ok(Self {
            text,
            instructions,
            has_stage_on_stage,
            named_sources,
        })
    }

    /// The line of an instruction, as buildah shows it.
    pub(crate) fn line_of(&self, shown: &str) -> Option<usize> {
        let words = |text: &str| -> Vec<String> {
            text.split_whitespace()
                .map(str::to_ascii_lowercase)
                .collect()
        };
        let shown = words(shown);
        let is_meant = |(_, text): &&(usize, String)| words(text) == shown;
        self.instructions
            .iter()
            .find(is_meant)
            .map(|(line, _)| *line)
    }
}

/// Keyword and words of an instruction.
struct Shown<'a>(&'a parse::Instruction);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.keyword)?;
        self.0
            .words
            .iter()
            .try_for_each(|word| write!(f, " {}", word.text))
    }
}

fn check_frontend(line: usize, frontend: &str) -> Result<(), Refusal> {
    let name = frontend.split('@').next().unwrap_or_default();
    let name = match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => name,
    };
    if FRONTENDS.contains(&name) {
        return Ok(());
    }
    Err(Refusal::new(
        line,
        format!(
            "# syntax={frontend} names a frontend that is not Docker's own, and builds run no other; \
             write docker/dockerfile:1 or leave the line out"
        ),
    ))
}

#[cfg(test)]
mod tests;
