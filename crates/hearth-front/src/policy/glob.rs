//! Wildcard matching in bounded time: for each byte of the text one step per 64 characters of the pattern, whatever
//! both are. Backtracking could take as many steps as the product of both lengths, and an attacker could write such
//! policies.
//!
//! The pattern is a chain of states: one before each of its characters and one after the last. A set of states is a
//! row of bits (Baeza-Yates and Gonnet, "A New Approach to Text Searching", 1992):
//!
//! ```text
//! a*?b    0 --a--> 1 --?--> 2 --b--> 3      a `*` is a loop on the state behind it
//!                  *
//! ```

/// Bits in a word of a row.
const WORD_BITS: usize = 64;

/// Classes of bytes that no pattern names: first bytes of a character, and continuation bytes.
const OTHER_FIRST: u8 = 0;
const OTHER_REST: u8 = 1;

/// A pattern that is prepared for matching.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Glob {
    /// Words in a row.
    words: usize,
    /// The state after the last character.
    end: usize,
    /// The class of each byte. The pattern does not distinguish bytes of one class.
    classes: [u8; 256],
    /// A row for each class: the states that advance by one on a byte of the class.
    moves: Vec<u64>,
    /// States that stay on any byte: those after a `*`.
    stays: Vec<u64>,
    /// States that stay on continuation bytes: those after a `?`, until its character has ended.
    ends_character: Vec<u64>,
}

impl Glob {
    pub(super) fn new(pattern: &str) -> Self {
        let literals = || pattern.bytes().filter(|byte| !b"*?".contains(byte));
        let end = pattern.bytes().filter(|byte| *byte != b'*').count();
        let words = end / WORD_BITS + 1;
        let mut classes = std::array::from_fn(|byte| match is_first(byte as u8) {
            true => OTHER_FIRST,
            false => OTHER_REST,
        });
        let mut count = OTHER_REST + 1;
        for byte in literals() {
            let class = &mut classes[usize::from(byte)];
            if *class <= OTHER_REST {
                // Never more than 256: twelve bytes do not occur in UTF-8.
                *class = count;
                count += 1;
            }
        }
        let mut glob = Self {
            words,
            end,
            classes,
            moves: vec![0; usize::from(count) * words],
            stays: vec![0; words],
            ends_character: vec![0; words],
        };
        glob.fill(pattern, literals());
        glob
    }

    fn fill(&mut self, pattern: &str, literals: impl Iterator<Item = u8>) {
        let firsts = literals.filter(|byte| is_first(*byte));
        let mut firsts: Vec<_> = firsts.map(|byte| self.class(byte)).collect();
        firsts.push(usize::from(OTHER_FIRST));
        firsts.sort_unstable();
        firsts.dedup();
        let mut state = 0;
        for byte in pattern.bytes() {
            match byte {
                b'*' => set(&mut self.stays, state),
                b'?' => {
                    for class in &firsts {
                        set(&mut self.moves[class * self.words..], state);
                    }
                    state += 1;
                    set(&mut self.ends_character, state);
                }
                byte => {
                    let row = self.class(byte) * self.words;
                    set(&mut self.moves[row..], state);
                    state += 1;
                }
            }
        }
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        let mut states = vec![0; self.words];
        set(&mut states, 0);
        for byte in text.bytes() {
            let row = self.class(byte) * self.words;
            let moves = &self.moves[row..row + self.words];
            let rest = if is_first(byte) { 0 } else { u64::MAX };
            let (mut carry, mut any) = (0, 0);
            for (word, states) in states.iter_mut().enumerate() {
                let moved = *states & moves[word];
                let stay = self.stays[word] | (self.ends_character[word] & rest);
                *states = moved << 1 | carry | *states & stay;
                carry = moved >> (WORD_BITS - 1);
                any |= *states;
            }
            if any == 0 {
                return false;
            }
        }
        states[self.end / WORD_BITS] >> (self.end % WORD_BITS) & 1 == 1
    }

    fn class(&self, byte: u8) -> usize {
        usize::from(self.classes[usize::from(byte)])
    }
}

fn set(row: &mut [u64], state: usize) {
    row[state / WORD_BITS] |= 1 << (state % WORD_BITS);
}

/// Whether a byte is the first of a character of UTF-8.
fn is_first(byte: u8) -> bool {
    byte & 0xC0 != 0x80
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn time_of(glob: &Glob, text: &str) -> Duration {
        let times = (0..5).map(|_| {
            let begun = Instant::now();
            assert!(!glob.matches(text));
            begun.elapsed()
        });
        times.min().unwrap()
    }

    /// Finding M10: a pattern that nearly matches everywhere cost as many steps as both lengths multiplied.
    #[test]
    fn a_hostile_text_takes_no_longer_than_any_other() {
        let glob = Glob::new(&format!("*{}b", "a?".repeat(500)));
        let harmless = time_of(&glob, &"c".repeat(2000));
        let hostile = time_of(&glob, &"a".repeat(2000));
        // Five times is for a busy machine; it was more than a hundred.
        assert!(hostile < harmless * 5, "{hostile:?}, not {harmless:?}");
    }

    #[test]
    fn long_patterns_have_more_words() {
        for length in [62, 63, 64, 65, 127, 128, 129, 1000] {
            let text = "ab".repeat(length);
            assert!(Glob::new(&format!("{}*", &text[..length])).matches(&text));
            assert!(Glob::new(&format!("*{}", &text[length..])).matches(&text));
            assert!(Glob::new(&"?".repeat(2 * length)).matches(&text));
            assert!(!Glob::new(&"?".repeat(2 * length + 1)).matches(&text));
            assert!(!Glob::new(&format!("{text}?*")).matches(&text));
        }
    }
}
