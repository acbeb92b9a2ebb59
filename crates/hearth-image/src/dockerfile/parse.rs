//! Reads a Dockerfile into instructions, each with its place in the text.
//!
//! ```text
//! # syntax=docker/dockerfile:1      directives, before everything else
//! RUN --mount=type=cache,target=/c \       an instruction: words, with their places
//!     # a comment                          left out, as are empty lines
//!     make <<EOF
//! text                                     body of a heredoc
//! EOF
//! ```
//!
//! (Dockerfile reference, "Format", "Parser directives", "Here-Documents".)

use std::iter::Peekable;
use std::str::Lines;

use super::Refusal;

/// A Dockerfile, read but not judged.
#[derive(Debug)]
pub(super) struct Parsed {
    /// The frontend of a `# syntax=` line, and its line.
    pub(super) syntax: Option<(usize, String)>,
    pub(super) instructions: Vec<Instruction>,
}

/// One instruction. Lines are counted from 1.
#[derive(Debug)]
pub(super) struct Instruction {
    pub(super) line: usize,
    /// In capital letters; that of the trigger where it is an `ONBUILD`.
    pub(super) keyword: String,
    /// Whether it is an `ONBUILD`.
    pub(super) is_trigger: bool,
    /// What stands behind the keyword.
    pub(super) words: Vec<Word>,
    /// The place of the keyword itself.
    pub(super) place: Place,
}

/// A word: what stands between spaces that are not quoted. Quotes are part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    /// `None` when the word goes on over the end of a line.
    pub(super) place: Option<Place>,
}

/// A range of bytes in a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Instructions whose words may open heredocs.
const WITH_HEREDOCS: [&str; 3] = ["RUN", "COPY", "ADD"];

impl Instruction {
    /// The words before the first that is no flag.
    pub(super) fn flags(&self) -> &[Word] {
        let is_flag = |word: &&Word| word.text.starts_with("--") && word.text.len() > 2;
        let count = self.words.iter().take_while(is_flag).count();
        &self.words[..count]
    }

    /// The words behind the flags.
    pub(super) fn arguments(&self) -> &[Word] {
        &self.words[self.flags().len()..]
    }
}

pub(super) fn parse(text: &str) -> Result<Parsed, Refusal> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut parser = Parser {
        lines: text.lines().peekable(),
        line: 0,
        escape: '\\',
        parsed: Parsed {
            syntax: None,
            instructions: Vec::new(),
        },
    };
    parser.directives();
    while parser.lines.peek().is_some() {
        parser.instruction()?;
    }
    Ok(parser.parsed)
}

struct Parser<'a> {
    lines: Peekable<Lines<'a>>,
    /// Lines that were taken.
    line: usize,
    escape: char,
    parsed: Parsed,
}

impl<'a> Parser<'a> {
    fn take(&mut self) -> Option<&'a str> {
        let line = self.lines.next()?;
        self.line += 1;
        Some(line)
    }

    /// `# key=value` lines, as long as there is nothing else.
    fn directives(&mut self) {
        while let Some(line) = self.lines.peek() {
            let directive = line.trim().strip_prefix('#').and_then(|rest| {
                let (key, value) = rest.split_once('=')?;
                Some((key.trim().to_ascii_lowercase(), value.trim()))
            });
            match directive {
                Some((key, value)) if key == "escape" => {
                    if value == "`" {
                        self.escape = '`';
                    }
                }
                Some((key, value)) if key == "syntax" => {
                    self.parsed.syntax = Some((self.line + 1, value.to_owned()));
                }
                Some((key, _)) if key == "check" => {}
                _ => return,
            }
            self.take();
        }
    }

    /// One instruction with its heredocs; no-op on a line without any.
    fn instruction(&mut self) -> Result<(), Refusal> {
        let mut words = WordReader::default();
        let first = self.line + 1;
        while let Some(line) = self.take() {
            let is_first = words.is_empty();
            let trimmed = line.trim();
            if trimmed.starts_with('#') || (trimmed.is_empty() && !is_first) {
                if is_first {
                    return Ok(());
                }
                continue;
            }
            let end = line.trim_end();
            let (content, goes_on) = match end.strip_suffix(self.escape) {
                Some(content) => (content, true),
                None => (line, false),
            };
            words.read(content, self.line, self.escape);
            if !goes_on {
                words.end_word();
                break;
            }
        }
        let mut words = words.words.into_iter();
        let Some(mut keyword) = words.next() else {
            return Ok(());
        };
        let mut words: Vec<Word> = words.collect();
        let is_trigger = keyword.text.eq_ignore_ascii_case("ONBUILD") && !words.is_empty();
        if is_trigger {
            keyword = words.remove(0);
        }
        let place = keyword.place.ok_or_else(|| {
            Refusal::new(first, "an instruction's name goes over the end of a line")
        })?;
        let instruction = Instruction {
            // Comments and empty lines may stand before it.
            line: place.line,
            keyword: keyword.text.to_ascii_uppercase(),
            is_trigger,
            words,
            place,
        };
        self.skip_heredocs(&instruction)?;
        self.parsed.instructions.push(instruction);
        Ok(())
    }

    fn skip_heredocs(&mut self, instruction: &Instruction) -> Result<(), Refusal> {
        if !WITH_HEREDOCS.contains(&instruction.keyword.as_str()) || is_json(instruction) {
            return Ok(());
        }
        for heredoc in instruction.arguments().iter().filter_map(heredoc) {
            loop {
                let Some(line) = self.take() else {
                    return Err(Refusal::new(
                        instruction.line,
                        format!("the heredoc <<{} has no end", heredoc.name),
                    ));
                };
                let line = match heredoc.strips_tabs {
                    true => line.trim_start_matches('\t'),
                    false => line,
                };
                if line == heredoc.name {
                    break;
                }
            }
        }
        Ok(())
    }
}

/// Whether the arguments are a JSON array.
pub(super) fn is_json(instruction: &Instruction) -> bool {
    let first = instruction.arguments().first();
    first.is_some_and(|word| word.text.starts_with('['))
}

struct Heredoc {
    name: String,
    strips_tabs: bool,
}

/// Whether a word opens a heredoc: `<<EOF`, `<<-EOF`, `3<<"EOF"`.
pub(super) fn opens_heredoc(word: &Word) -> bool {
    heredoc(word).is_some()
}

fn heredoc(word: &Word) -> Option<Heredoc> {
    let rest = word
        .text
        .trim_start_matches(|character: char| character.is_ascii_digit())
        .strip_prefix("<<")?;
    let (rest, strips_tabs) = match rest.strip_prefix('-') {
        Some(rest) => (rest, true),
        None => (rest, false),
    };
    let name: String = rest
        .chars()
        .filter(|character| !matches!(character, '"' | '\'' | '\\'))
        .collect();
    (!name.is_empty() && !name.contains('<')).then_some(Heredoc { name, strips_tabs })
}

/// Cuts the lines of an instruction into words.
#[derive(Default)]
struct WordReader {
    words: Vec<Word>,
    /// The word that is being read.
    text: String,
    place: Option<Place>,
    is_split: bool,
    quote: Option<char>,
}

impl WordReader {
    fn is_empty(&self) -> bool {
        self.words.is_empty() && self.text.is_empty()
    }

    fn read(&mut self, content: &str, line: usize, escape: char) {
        if !self.text.is_empty() {
            self.is_split = true;
        }
        let mut is_escaped = false;
        for (start, character) in content.char_indices() {
            if self.quote.is_none() && !is_escaped && character.is_whitespace() {
                self.end_word();
                continue;
            }
            let end = start + character.len_utf8();
            match &mut self.place {
                Some(place) if place.line == line => place.end = end,
                Some(_) => {}
                None => self.place = Some(Place { line, start, end }),
            }
            self.text.push(character);
            if is_escaped {
                is_escaped = false;
                continue;
            }
            match self.quote {
                // Nothing is escaped between single quotes.
                Some('\'') if character != '\'' => {}
                _ if character == escape => is_escaped = true,
                Some(quote) if character == quote => self.quote = None,
                None if matches!(character, '"' | '\'') => self.quote = Some(character),
                _ => {}
            }
        }
    }

    fn end_word(&mut self) {
        let place = self.place.take();
        let is_split = std::mem::take(&mut self.is_split);
        let text = std::mem::take(&mut self.text);
        if !text.is_empty() {
            self.words.push(Word {
                text,
                place: place.filter(|_| !is_split),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(usize, String, Vec<String>)> {
        let parsed = parse(text).unwrap();
        let texts = |words: &[Word]| words.iter().map(|word| word.text.clone()).collect();
        parsed
            .instructions
            .iter()
            .map(|one| (one.line, one.keyword.clone(), texts(&one.words)))
            .collect()
    }

    #[test]
    fn instructions_have_lines_and_words() {
        let text = "\u{feff}# syntax=docker/dockerfile:1\n\n# ARG no\nfrom a \\\n  # comment\n\n  as b\r\n\
                    RUN echo 'a <<EOF b' \"c d\" \\\n && x\nONBUILD copy a b\n";
        assert_eq!(
            read(text),
            [
                (4, "FROM".into(), vec!["a".into(), "as".into(), "b".into()]),
                (
                    8,
                    "RUN".into(),
                    ["echo", "'a <<EOF b'", "\"c d\"", "&&", "x"]
                        .map(str::to_owned)
                        .into()
                ),
                (10, "COPY".into(), vec!["a".into(), "b".into()]),
            ]
        );
        assert_eq!(
            parse(text).unwrap().syntax,
            Some((1, "docker/dockerfile:1".into()))
        );
    }

    #[test]
    fn heredocs_are_no_instructions() {
        let text = "FROM a\nRUN <<EOF cat > /x && cat <<-'B'\nRUN x\nEOF\n\tCOPY\n\tB\nCOPY <<a <<b /d/\na\nb\nUSER x\n";
        let keywords: Vec<(usize, String)> = read(text)
            .into_iter()
            .map(|(line, keyword, _)| (line, keyword))
            .collect();
        let expected = [(1, "FROM"), (2, "RUN"), (7, "COPY"), (10, "USER")];
        assert_eq!(
            keywords,
            expected.map(|(line, word)| (line, word.to_owned()))
        );
        let refusal = parse("FROM a\nRUN <<EOF\nx\n").unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "Dockerfile:2: the heredoc <<EOF has no end"
        );
        // A shell's own here-string is none, and nothing in JSON.
        assert_eq!(
            read("FROM a\nRUN cat <<<EOF\nCMD [\"<<EOF\"]\nRUN [\"<<EOF\"]\n").len(),
            4
        );
    }

    #[test]
    fn the_escape_character_may_be_another() {
        let text = "# escape=`\nFROM a\nRUN dir c:\\ `\n b\nUSER x\n";
        let words = &read(text)[1].2;
        assert_eq!(words, &["dir", "c:\\", "b"]);
    }

    #[test]
    fn words_over_two_lines_have_no_place() {
        let parsed = parse("FROM a\nCOPY --li\\\nnk a b\n").unwrap();
        let flag = &parsed.instructions[1].words[0];
        assert_eq!((flag.text.as_str(), flag.place), ("--link", None));
    }
}
