//! `${NAME...}` where instructions expand it: forms that buildah does not know.
//!
//! ```text
//! ENV VERSION=3.11.4
//! ENV SHORT=${VERSION%.*}      for buildah: ENV SHORT=3.11
//! ```
//!
//! They are expanded here, if the value is known: an `ENV` of the same stage has set it, or in `FROM` an `ARG` before
//! the first of these. An `ARG` of a stage is not enough, as an `ENV` of the base image would win over it. (Dockerfile
//! reference, "Environment replacement".)

use std::collections::BTreeMap;

use super::Refusal;
use super::edit::Edits;
use super::parse::{Instruction, Word};
use super::pattern;

/// Instructions in which the builder expands variables. In `RUN`, `CMD` and `ENTRYPOINT` the shell does.
const EXPANDED: [&str; 11] = [
    "FROM",
    "ENV",
    "ARG",
    "LABEL",
    "COPY",
    "ADD",
    "WORKDIR",
    "USER",
    "EXPOSE",
    "VOLUME",
    "STOPSIGNAL",
];

/// Longest value that is worked on, in bytes. Patterns are matched in the square of it.
const MAX_VALUE_BYTES: usize = 256;

/// What is known of variables: their values, or `None` for those that are set to something that is not known.
type Values = BTreeMap<String, Option<String>>;

/// The variables at one place of the file.
#[derive(Default)]
struct Scope {
    /// Those of `ARG` before the first `FROM`, which `FROM` alone sees.
    global: Values,
    /// Those of `ENV` in this stage.
    stage: Values,
    is_in_stage: bool,
}

/// Puts what each form stands for in its place. Refuses forms of which the value is not known.
pub(super) fn judge(instructions: &[Instruction], edits: &mut Edits) -> Result<(), Refusal> {
    let mut scope = Scope::default();
    for instruction in instructions {
        // Those of the stage that an ONBUILD ends up in are not known.
        let known = match (instruction.is_trigger, instruction.keyword.as_str()) {
            (true, _) => &Values::new(),
            (false, "FROM") => &scope.global,
            (false, _) => scope.values(),
        };
        if EXPANDED.contains(&instruction.keyword.as_str()) {
            for word in &instruction.words {
                expand_word(instruction, word, known, edits)?;
            }
        }
        if !instruction.is_trigger {
            scope.pass(instruction);
        }
    }
    Ok(())
}

fn expand_word(
    instruction: &Instruction,
    word: &Word,
    known: &Values,
    edits: &mut Edits,
) -> Result<(), Refusal> {
    let mut text = word.text.clone();
    while let Some(form) = unknown_form(&text) {
        let value = value_of(known, form.name).and_then(|value| form.apply(value));
        let Some(value) = value.filter(|value| is_plain(value)) else {
            return Err(Refusal::new(
                instruction.line,
                format!(
                    "{} in {} is not supported here: no ENV of this stage sets {} to a plain value before; set the variable \
                     to the result, or cut it in a RUN",
                    form.text, instruction.keyword, form.name
                ),
            ));
        };
        text = text.replacen(form.text, &value, 1);
    }
    match text == word.text {
        true => Ok(()),
        false => edits.replace(word, instruction.line, &text),
    }
}

/// Whether a value means itself in every word, with quotes and without.
fn is_plain(value: &str) -> bool {
    let is_plain =
        |character: char| character.is_ascii_alphanumeric() || "-_.,:;/@+=~".contains(character);
    value.len() <= MAX_VALUE_BYTES && value.chars().all(is_plain)
}

fn value_of<'a>(known: &'a Values, name: &str) -> Option<&'a str> {
    known.get(name)?.as_deref()
}

impl Scope {
    fn values(&self) -> &Values {
        match self.is_in_stage {
            true => &self.stage,
            false => &self.global,
        }
    }

    /// Notes what an instruction sets.
    fn pass(&mut self, instruction: &Instruction) {
        let words = instruction.words.as_slice();
        match instruction.keyword.as_str() {
            "FROM" => {
                self.stage.clear();
                self.is_in_stage = true;
            }
            "ARG" if !self.is_in_stage => {
                for word in words {
                    let (name, value) = pair(&word.text);
                    let value = value.and_then(|value| expand(value, &self.global));
                    self.global.insert(name.to_owned(), value);
                }
            }
            "ENV" => {
                // All of one instruction are expanded before any of them is set.
                let set: Vec<(String, Option<String>)> = match words {
                    [name, values @ ..] if !name.text.contains('=') => {
                        let value = match values {
                            [value] => expand(&value.text, &self.stage),
                            _ => None,
                        };
                        vec![(name.text.clone(), value)]
                    }
                    words => {
                        let set = words.iter().map(|word| pair(&word.text));
                        set.map(|(name, value)| {
                            let value = value.and_then(|value| expand(value, &self.stage));
                            (name.to_owned(), value)
                        })
                        .collect()
                    }
                };
                for (name, value) in set {
                    // With quotes or a variable in the name, it may be any.
                    if name_end(&name) < name.len() {
                        self.stage.clear();
                    }
                    self.stage.insert(name, value);
                }
            }
            _ => {}
        }
    }
}

fn pair(text: &str) -> (&str, Option<&str>) {
    match text.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (text, None),
    }
}

/// The value of a word, without its quotes. `None` if it is not known here.
fn expand(text: &str, known: &Values) -> Option<String> {
    let quoted = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
    if let Some(literal) = quoted('\'') {
        return (!literal.contains('\'')).then(|| literal.to_owned());
    }
    let mut rest = quoted('"').unwrap_or(text);
    if rest.contains(['"', '\'', '\\']) {
        return None;
    }
    let mut value = String::new();
    while let Some((before, behind)) = rest.split_once('$') {
        value += before;
        let end;
        if behind.starts_with('{') {
            end = behind.find('}')? + 1;
            let whole = &rest[before.len()..before.len() + 1 + end];
            match unknown_form(whole) {
                Some(form) => value += &form.apply(value_of(known, form.name)?)?,
                None => value += value_of(known, &behind[1..end - 1])?,
            }
        } else {
            end = name_end(behind);
            value += value_of(known, &behind[..end])?;
        }
        rest = &behind[end..];
    }
    Some(value + rest)
}

/// `${NAME%...}` and the like.
struct Form<'a> {
    text: &'a str,
    name: &'a str,
    /// What stands behind the name.
    change: &'a str,
}

/// The first form that buildah does not know: `${NAME%...}`, `${NAME#...}` and `${NAME/...}`, which cut off or replace
/// patterns, and `-`, `+` and `?` without a colon, which tell an empty variable from one that is not set.
fn unknown_form(word: &str) -> Option<Form<'_>> {
    let mut start = 0;
    while let Some(found) = word[start..].find("${") {
        start += found;
        let is_escaped = word[..start].ends_with('\\');
        let form = &word[start..];
        let name_end = 2 + name_end(&form[2..]);
        if !is_escaped && form[name_end..].starts_with(['%', '#', '/', '-', '+', '?']) {
            let end = form.find('}').unwrap_or(form.len());
            return Some(Form {
                text: &form[..form.len().min(end + 1)],
                name: &form[2..name_end],
                change: &form[name_end..end],
            });
        }
        start += 2;
    }
    None
}

fn name_end(text: &str) -> usize {
    text.find(|character: char| !character.is_ascii_alphanumeric() && character != '_')
        .unwrap_or(text.len())
}

impl Form<'_> {
    /// What the form stands for, if the variable has this value. `None` if a pattern is not a plain one.
    fn apply(&self, value: &str) -> Option<String> {
        if value.len() > MAX_VALUE_BYTES || self.change.len() > MAX_VALUE_BYTES {
            return None;
        }
        let (kind, rest) = self.change.split_at_checked(1)?;
        // It is set, as it has a value.
        match kind {
            "-" | "?" => return Some(value.to_owned()),
            "+" => return Some(rest.to_owned()),
            _ => {}
        }
        if rest.contains(['$', '"', '\'', '[', '{']) {
            return None;
        }
        let (is_whole, rest) = match rest.strip_prefix(kind) {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        Some(match kind {
            "#" => pattern::cut_start(value, rest, is_whole).to_owned(),
            "%" => pattern::cut_end(value, rest, is_whole).to_owned(),
            _ => {
                let (from, to) = rest.split_once('/').unwrap_or((rest, ""));
                pattern::replace(value, from, to, is_whole)
            }
        })
    }
}
