//! Instructions one by one: which there are, and what their flags mean to buildah.

use super::Refusal;
use super::edit::Edits;
use super::mounts::{self, Mount};
use super::parse::{Instruction, Word, is_json, opens_heredoc};

/// Instructions, and the flags of those that have any.
const INSTRUCTIONS: [(&str, &[&str]); 18] = [
    ("FROM", &["platform"]),
    ("RUN", &["mount", "network", "security", "device"]),
    (
        "COPY",
        &["from", "chown", "chmod", "link", "parents", "exclude"],
    ),
    (
        "ADD",
        &[
            "chown",
            "chmod",
            "link",
            "exclude",
            "checksum",
            "keep-git-dir",
            "unpack",
        ],
    ),
    (
        "HEALTHCHECK",
        &[
            "interval",
            "timeout",
            "start-period",
            "start-interval",
            "retries",
        ],
    ),
    ("ARG", &[]),
    ("CMD", &[]),
    ("ENTRYPOINT", &[]),
    ("ENV", &[]),
    ("EXPOSE", &[]),
    ("LABEL", &[]),
    ("MAINTAINER", &[]),
    ("ONBUILD", &[]),
    ("SHELL", &[]),
    ("STOPSIGNAL", &[]),
    ("USER", &[]),
    ("VOLUME", &[]),
    ("WORKDIR", &[]),
];

/// A flag of an instruction.
struct Flag<'a> {
    word: &'a Word,
    name: &'a str,
    value: Option<&'a str>,
}

impl Flag<'_> {
    /// `--link`, `--link=true`.
    fn is_on(&self) -> bool {
        !matches!(self.value, Some("false" | "0"))
    }

    fn value(&self) -> &str {
        self.value.unwrap_or_default()
    }
}

/// The flag `--parents` of a `COPY`, if it is on.
pub(super) fn parents(instruction: &Instruction) -> Option<&Word> {
    let is_on = |word: &&Word| {
        matches!(
            word.text.as_str(),
            "--parents" | "--parents=true" | "--parents=1"
        )
    };
    match instruction.keyword.as_str() {
        "COPY" => instruction.flags().iter().find(is_on),
        _ => None,
    }
}

pub(super) fn judge(instruction: &Instruction, edits: &mut Edits) -> Result<(), Refusal> {
    let keyword = instruction.keyword.as_str();
    let Some((_, known)) = INSTRUCTIONS.iter().find(|(name, _)| *name == keyword) else {
        return Err(Refusal::new(
            instruction.line,
            format!("there is no instruction {keyword}"),
        ));
    };
    if known.is_empty() {
        return Ok(());
    }
    if keyword == "ADD"
        && let Some(source) = sources(instruction).iter().find(|source| is_git(source))
    {
        return Err(Refusal::new(
            instruction.line,
            format!("ADD of a git repository ({source}) is not supported; clone it in a RUN"),
        ));
    }
    for word in instruction.flags() {
        let text = word.text.strip_prefix("--").unwrap_or_default();
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        if !known.contains(&name) {
            return Err(Refusal::new(
                instruction.line,
                format!("{keyword} has no flag --{name}"),
            ));
        }
        let flag = Flag { word, name, value };
        match keyword {
            "RUN" => judge_run(instruction, &flag, edits)?,
            "COPY" | "ADD" => judge_copy(instruction, &flag, edits)?,
            _ => {}
        }
    }
    Ok(())
}

fn judge_run(instruction: &Instruction, flag: &Flag<'_>, edits: &mut Edits) -> Result<(), Refusal> {
    let line = instruction.line;
    match (flag.name, flag.value()) {
        ("mount", value) => match mounts::judge(value, line)? {
            Mount::Kept => Ok(()),
            Mount::Changed(value) => edits.replace(flag.word, line, &format!("--mount={value}")),
            Mount::Dropped => edits.replace(flag.word, line, ""),
        },
        ("network", "default" | "none" | "host") => Ok(()),
        ("network", other) => Err(Refusal::new(
            line,
            format!("RUN --network={other}: there are default, none and host"),
        )),
        ("security", "sandbox") => edits.replace(flag.word, line, ""),
        ("security", _) => Err(Refusal::new(
            line,
            "RUN --security: only sandbox is there; no build has more rights",
        )),
        _ => Err(Refusal::new(
            line,
            "RUN --device: a builder has no devices to give",
        )),
    }
}

fn judge_copy(
    instruction: &Instruction,
    flag: &Flag<'_>,
    edits: &mut Edits,
) -> Result<(), Refusal> {
    let line = instruction.line;
    let keyword = &instruction.keyword;
    match flag.name {
        // Says how layers are kept, and nothing of what is in them.
        "link" => edits.replace(flag.word, line, ""),
        "parents" if !flag.is_on() => edits.replace(flag.word, line, ""),
        // In `Dockerfile::read()`, as it changes more than the flag.
        "parents" => Ok(()),
        "chmod" => judge_chmod(keyword, flag, line, edits),
        "exclude" => {
            let patterns = excluded(instruction, flag.value())?;
            let patterns: Vec<String> = patterns
                .iter()
                .map(|pattern| format!("--exclude={pattern}"))
                .collect();
            edits.replace(flag.word, line, &patterns.join(" "))
        }
        // It says something of git repositories alone, which are refused.
        "keep-git-dir" => edits.replace(flag.word, line, ""),
        "unpack" => judge_unpack(instruction, flag, edits),
        _ => Ok(()),
    }
}

/// Permissions as a number are buildah's. As words they are, where they mean one number for every file.
fn judge_chmod(
    keyword: &str,
    flag: &Flag<'_>,
    line: usize,
    edits: &mut Edits,
) -> Result<(), Refusal> {
    let value = flag.value();
    let is_octal = !value.is_empty() && value.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    if value.contains('$') || (is_octal && value.len() <= 5) {
        return Ok(());
    }
    match permissions(value) {
        Some(mode) => edits.replace(flag.word, line, &format!("--chmod={mode:o}")),
        None => Err(Refusal::new(
            line,
            format!(
                "{keyword} --chmod={value} is not supported: write a number, such as 755, or all of u=, g= and o= \
                 without X"
            ),
        )),
    }
}

/// The number that `u=rwx,go=rx` stands for. `None` if it depends on what a file has.
fn permissions(text: &str) -> Option<u32> {
    let mut known = [false; 3];
    let mut mode = 0;
    for clause in text.split(',') {
        let (who, what) = clause.split_once('=')?;
        let mut bits = 0;
        for letter in what.chars() {
            bits |= match letter {
                'r' => 4,
                'w' => 2,
                'x' => 1,
                _ => return None,
            };
        }
        let who = if who.is_empty() || who == "a" {
            "ugo"
        } else {
            who
        };
        for class in who.chars() {
            let index = "ogu".find(class)?;
            known[index] = true;
            mode &= !(7 << (3 * index));
            mode |= bits << (3 * index);
        }
    }
    known.iter().all(|known| *known).then_some(mode)
}

/// `--exclude` is meant from each source on. For buildah it is from the root of the context on.
fn excluded(instruction: &Instruction, pattern: &str) -> Result<Vec<String>, Refusal> {
    let line = instruction.line;
    let sources = sources(instruction);
    let (negation, pattern) = match pattern.strip_prefix('!') {
        Some(pattern) => ("!", pattern),
        None => ("", pattern),
    };
    let mut patterns = Vec::new();
    for source in sources {
        if source.contains('$') {
            return Err(Refusal::new(
                line,
                format!(
                    "{} --exclude with a variable in {source} is not supported; write the path out",
                    instruction.keyword
                ),
            ));
        }
        let source = source.trim_start_matches("./").trim_matches('/');
        let source = if source == "." { "" } else { source };
        let above = source.rsplit_once('/').map_or("", |(above, _)| above);
        for place in [source, above] {
            let whole = match place {
                "" => format!("{negation}{pattern}"),
                place => format!("{negation}{place}/{pattern}"),
            };
            if !patterns.contains(&whole) {
                patterns.push(whole);
            }
        }
    }
    Ok(patterns)
}

/// What is copied: heredocs are not, as nothing of them can be left out.
fn sources(instruction: &Instruction) -> Vec<String> {
    let words: Vec<String> = match is_json(instruction) {
        true => {
            let text: Vec<&str> = instruction
                .arguments()
                .iter()
                .map(|word| word.text.as_str())
                .collect();
            serde_json::from_str(&text.join(" ")).unwrap_or_default()
        }
        false => instruction
            .arguments()
            .iter()
            .filter(|word| !opens_heredoc(word))
            .map(|word| word.text.trim_matches(['"', '\'']).to_owned())
            .collect(),
    };
    match words.split_last() {
        Some((_, sources)) => sources.to_vec(),
        None => Vec::new(),
    }
}

/// Whether BuildKit would clone it (Dockerfile reference, "ADD", "Adding files from a Git repository").
fn is_git(source: &str) -> bool {
    let starts = ["git@", "git://", "ssh://"];
    let address = source.split(['#', '?']).next().unwrap_or_default();
    let is_remote = source.contains("://");
    starts.iter().any(|start| source.starts_with(start)) || (is_remote && address.ends_with(".git"))
}

/// buildah unpacks archives of the context, and never those of an address.
fn judge_unpack(
    instruction: &Instruction,
    flag: &Flag<'_>,
    edits: &mut Edits,
) -> Result<(), Refusal> {
    let line = instruction.line;
    let sources = sources(instruction);
    let is_remote = |source: &&String| {
        source.contains("://") || source.starts_with("git@") || source.contains('$')
    };
    let remote_count = sources.iter().filter(is_remote).count();
    match (flag.is_on(), remote_count) {
        (true, 0) => edits.replace(flag.word, line, ""),
        (true, _) => Err(Refusal::new(
            line,
            "ADD --unpack of an address is not supported; fetch and unpack it in a RUN",
        )),
        (false, 0) => {
            edits.replace_at(instruction.place, "COPY");
            edits.replace(flag.word, line, "")
        }
        (false, count) if count == sources.len() => edits.replace(flag.word, line, ""),
        (false, _) => Err(Refusal::new(
            line,
            "ADD --unpack=false of files and addresses together is not supported; use an ADD for each",
        )),
    }
}
