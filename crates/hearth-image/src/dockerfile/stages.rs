//! Stages: where the file begins, and the names that other instructions use for them.
//!
//! Names of stages know no capital letters for BuildKit. For buildah `Build` and `build` are two.

use std::collections::BTreeSet;

use super::Refusal;
use super::edit::Edits;
use super::parse::{Instruction, Word};

/// Checks the stages. Answers whether one of them stands on an earlier one.
pub(super) fn judge(instructions: &[Instruction], edits: &mut Edits) -> Result<bool, Refusal> {
    let mut names = BTreeSet::new();
    let mut has_stage = false;
    let mut is_on_stage = false;
    for instruction in instructions {
        match instruction.keyword.as_str() {
            "FROM" => {
                has_stage = true;
                is_on_stage |= judge_from(instruction, &mut names, edits)?;
            }
            "ARG" => {}
            keyword if !has_stage => {
                return Err(Refusal::new(
                    instruction.line,
                    format!("{keyword} stands before the first FROM, where only ARG may"),
                ));
            }
            "COPY" => lower_flag(instruction, "--from=", &names, edits)?,
            "RUN" => lower_mounts(instruction, &names, edits)?,
            _ => {}
        }
    }
    match has_stage {
        true => Ok(is_on_stage),
        false => Err(Refusal::new(1, "there is no FROM in it")),
    }
}

/// Checks a `FROM`. Answers whether its image is, or may be, an earlier stage.
fn judge_from(
    instruction: &Instruction,
    names: &mut BTreeSet<String>,
    edits: &mut Edits,
) -> Result<bool, Refusal> {
    let arguments = instruction.arguments();
    let line = instruction.line;
    let (image, name) = match arguments {
        [image] => (image, None),
        [image, word, name] if word.text.eq_ignore_ascii_case("as") => (image, Some(name)),
        _ => {
            return Err(Refusal::new(
                line,
                "FROM takes an image, and AS and a name if it has one",
            ));
        }
    };
    let lowered = image.text.to_ascii_lowercase();
    if names.contains(&lowered) && lowered != image.text {
        edits.replace(image, line, &lowered)?;
    }
    // What a variable stands for is not known here.
    let is_on_stage = names.contains(&lowered) || (image.text.contains('$') && !names.is_empty());
    let Some(name) = name else {
        return Ok(is_on_stage);
    };
    let lowered = name.text.to_ascii_lowercase();
    let is_first = |character: char| character.is_ascii_lowercase();
    let is_allowed =
        |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
    if !lowered.starts_with(is_first) || !lowered.chars().all(is_allowed) {
        return Err(Refusal::new(
            line,
            format!(
                "{} is no name of a stage: a letter first, then letters, digits, '-', '_' and '.'",
                name.text
            ),
        ));
    }
    if lowered != name.text {
        edits.replace(name, line, &lowered)?;
    }
    names.insert(lowered);
    Ok(is_on_stage)
}

fn lower_flag(
    instruction: &Instruction,
    prefix: &str,
    names: &BTreeSet<String>,
    edits: &mut Edits,
) -> Result<(), Refusal> {
    for word in instruction.flags() {
        if let Some(name) = word.text.strip_prefix(prefix)
            && let Some(lowered) = lower(name, names)
        {
            edits.replace(word, instruction.line, &format!("{prefix}{lowered}"))?;
        }
    }
    Ok(())
}

fn lower_mounts(
    instruction: &Instruction,
    names: &BTreeSet<String>,
    edits: &mut Edits,
) -> Result<(), Refusal> {
    for word in instruction.flags() {
        if let Some(text) = lowered_mount(word, names) {
            edits.replace(word, instruction.line, &text)?;
        }
    }
    Ok(())
}

/// The same mount with `from=` in small letters, if that changes anything.
fn lowered_mount(word: &Word, names: &BTreeSet<String>) -> Option<String> {
    let options = word.text.strip_prefix("--mount=")?;
    let mut has_changed = false;
    let options: Vec<String> = options
        .split(',')
        .map(|option| {
            let name = option.strip_prefix("from=");
            match name.and_then(|name| lower(name, names)) {
                Some(lowered) => {
                    has_changed = true;
                    format!("from={lowered}")
                }
                None => option.to_owned(),
            }
        })
        .collect();
    has_changed.then(|| format!("--mount={}", options.join(",")))
}

fn lower(name: &str, names: &BTreeSet<String>) -> Option<String> {
    let lowered = name.to_ascii_lowercase();
    (lowered != name && names.contains(&lowered)).then_some(lowered)
}
