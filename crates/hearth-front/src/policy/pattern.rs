//! Texts with wildcards: `*` stands for any characters, `?` for one.

use super::Truth;

/// How letters compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Letters {
    /// Resources.
    Exact,
    /// Actions: `S3:getobject` is `s3:GetObject`.
    AnyCase,
}

/// A text of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    text: String,
    letters: Letters,
    /// Policy variables, `${aws:username}`, whose values are not known here.
    has_variables: bool,
}

impl Pattern {
    pub(super) fn new(text: &str, letters: Letters) -> Self {
        Self {
            text: match letters {
                Letters::Exact => text.to_owned(),
                Letters::AnyCase => text.to_ascii_lowercase(),
            },
            letters,
            has_variables: text.contains("${"),
        }
    }

    pub(super) fn matches(&self, text: &str) -> Truth {
        if self.has_variables {
            return Truth::Unknown;
        }
        Truth::of(match self.letters {
            Letters::Exact => is_match(self.text.as_bytes(), text.as_bytes()),
            Letters::AnyCase => {
                is_match(self.text.as_bytes(), text.to_ascii_lowercase().as_bytes())
            }
        })
    }
}

/// Goes through the text once, and back to the last `*` where it fits no further: at most as many steps as both lengths
/// multiplied, whatever the pattern. Bytes stand for characters, except that `?` must not split one.
pub(super) fn is_match(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut place) = (0, 0);
    // Behind the last `*`, and where in the text what follows it was tried.
    let mut retry: Option<(usize, usize)> = None;
    while place < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                at += 1;
                retry = Some((at, place));
            }
            Some(b'?') => {
                at += 1;
                place += character_bytes(&text[place..]);
            }
            Some(byte) if *byte == text[place] => {
                at += 1;
                place += 1;
            }
            _ => match &mut retry {
                None => return false,
                Some((behind, tried)) => {
                    *tried += 1;
                    (at, place) = (*behind, *tried);
                }
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

/// Length of the UTF-8 character that begins here.
fn character_bytes(text: &[u8]) -> usize {
    let is_continued = |byte: &&u8| **byte & 0xC0 == 0x80;
    1 + text[1..].iter().take_while(is_continued).count()
}
