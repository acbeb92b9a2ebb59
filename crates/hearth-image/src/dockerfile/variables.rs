//! `${NAME...}` where instructions expand it: forms that buildah does not know.

use super::Refusal;
use super::parse::Instruction;

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

pub(super) fn judge(instructions: &[Instruction]) -> Result<(), Refusal> {
    let expanded = instructions
        .iter()
        .filter(|instruction| EXPANDED.contains(&instruction.keyword.as_str()));
    for instruction in expanded {
        for word in &instruction.words {
            if let Some(form) = unknown_form(&word.text) {
                return Err(Refusal::new(
                    instruction.line,
                    format!(
                        "{form} in {} is not supported: only ${{NAME}}, and :-, :+ and :? behind the name; \
                         set the variable to the value, or cut it in a RUN",
                        instruction.keyword
                    ),
                ));
            }
        }
    }
    Ok(())
}

/// `${NAME%...}`, `${NAME#...}` and `${NAME/...}`, which cut off or replace patterns, and `-`, `+` and `?` without a
/// colon, which tell an empty variable from one that is not set.
fn unknown_form(word: &str) -> Option<&str> {
    let mut rest = word;
    while let Some(start) = rest.find("${") {
        let is_escaped = rest[..start].ends_with('\\');
        let form = &rest[start..];
        let name_end = form[2..]
            .find(|character: char| !character.is_ascii_alphanumeric() && character != '_')
            .map_or(form.len(), |end| end + 2);
        let end = form.find('}').map_or(form.len(), |end| end + 1);
        if !is_escaped && form[name_end..].starts_with(['%', '#', '/', '-', '+', '?']) {
            return Some(&form[..end]);
        }
        rest = &form[2..];
    }
    None
}
