//! Changes of single words of a Dockerfile. The lines stay where they are.

use super::Refusal;
use super::parse::{Place, Word};

/// Changes to be made.
#[derive(Debug, Default)]
pub(super) struct Edits(Vec<(Place, String)>);

impl Edits {
    /// Writes something else in the place of a word; nothing removes it.
    pub(super) fn replace(&mut self, word: &Word, line: usize, text: &str) -> Result<(), Refusal> {
        match word.place {
            Some(place) => {
                self.replace_at(place, text);
                Ok(())
            }
            None => Err(Refusal::new(
                line,
                format!("{} goes over the end of a line; write it on one", word.text),
            )),
        }
    }

    pub(super) fn replace_at(&mut self, place: Place, text: &str) {
        // The last change of a word counts.
        self.0.retain(|(known, _)| *known != place);
        self.0.push((place, text.to_owned()));
    }

    pub(super) fn apply(mut self, text: &str) -> String {
        self.0
            .sort_by_key(|(place, _)| (place.line, std::cmp::Reverse(place.start)));
        let mut lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
        for (place, text) in self.0 {
            if let Some(line) = lines.get_mut(place.line.saturating_sub(1)) {
                line.replace_range(place.start..place.end, &text);
            }
        }
        lines.join("\n")
    }
}
