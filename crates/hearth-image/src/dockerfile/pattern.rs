//! Patterns of a shell in `${NAME#...}`, `${NAME%...}` and `${NAME/...}`: `*`, `?`, and `\` before what means itself.

/// Cuts the shortest beginning that matches off, or the longest.
pub(super) fn cut_start<'a>(value: &'a str, pattern: &str, is_longest: bool) -> &'a str {
    let found = ends(value, is_longest).find(|end| matches(pattern, &value[..*end]));
    found.map_or(value, |end| &value[end..])
}

/// Cuts the shortest end that matches off, or the longest.
pub(super) fn cut_end<'a>(value: &'a str, pattern: &str, is_longest: bool) -> &'a str {
    let found = ends(value, !is_longest).find(|start| matches(pattern, &value[*start..]));
    found.map_or(value, |start| &value[..start])
}

/// Replaces the first match, or all: of several from one place, the longest.
pub(super) fn replace(value: &str, pattern: &str, by: &str, are_all: bool) -> String {
    let mut text = String::new();
    let mut rest = value;
    while let Some(first) = rest.chars().next() {
        let found = ends(rest, true).find(|end| *end > 0 && matches(pattern, &rest[..*end]));
        match found {
            Some(end) => {
                text += by;
                rest = &rest[end..];
                if !are_all {
                    break;
                }
            }
            None => {
                text.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    text + rest
}

/// The ends of all characters, and 0: from the first on, or from the last.
fn ends(value: &str, from_last: bool) -> Box<dyn Iterator<Item = usize> + '_> {
    let ends = value.char_indices().map(|(at, _)| at).chain([value.len()]);
    match from_last {
        true => Box::new(ends.rev()),
        false => Box::new(ends),
    }
}

/// A part of a pattern.
enum Part {
    Any,
    One,
    Itself(char),
}

/// Whether the whole text matches.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = Vec::new();
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        parts.push(match character {
            '*' => Part::Any,
            '?' => Part::One,
            '\\' => Part::Itself(characters.next().unwrap_or('\\')),
            character => Part::Itself(character),
        });
    }
    // Whether the parts so far match the text up to each of its characters.
    let text: Vec<char> = text.chars().collect();
    let mut so_far = vec![false; text.len() + 1];
    so_far[0] = true;
    for part in parts {
        let mut next = vec![false; text.len() + 1];
        for at in 0..=text.len() {
            next[at] = match part {
                Part::Any => so_far[at] || (at > 0 && next[at - 1]),
                Part::One => at > 0 && so_far[at - 1],
                Part::Itself(character) => at > 0 && so_far[at - 1] && text[at - 1] == character,
            };
        }
        so_far = next;
    }
    so_far[text.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As bash answers them.
    #[test]
    fn patterns_are_those_of_a_shell() {
        assert_eq!(cut_start("v1.2.3", "v", false), "1.2.3");
        assert_eq!(cut_start("a/b/c", "*/", false), "b/c");
        assert_eq!(cut_start("a/b/c", "*/", true), "c");
        assert_eq!(cut_start("abc", "x", true), "abc");
        assert_eq!(cut_end("3.11.4", ".*", false), "3.11");
        assert_eq!(cut_end("3.11.4", ".*", true), "3");
        assert_eq!(cut_end("3.11.4", "?4", false), "3.11");
        assert_eq!(cut_end("a*", "\\*", false), "a");
        assert_eq!(cut_end("ab", "\\*", false), "ab");
        assert_eq!(replace("1.2.3", ".", "_", false), "1_2.3");
        assert_eq!(replace("1.2.3", ".", "_", true), "1_2_3");
        assert_eq!(replace("foobar", "o*b", "", false), "far");
        assert_eq!(replace("äöü", "?", "x", true), "xxx");
        assert_eq!(replace("abc", "", "x", true), "abc");
    }
}
