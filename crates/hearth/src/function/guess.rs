//! Guesses what runs a function: its runtime and its handler, where the files are plain. Pure.

use crate::refused::Unfit;

/// What is guessed for each language: the newest runtime that the service has. Node has none yet, and the service refuses
/// it by name.
const PYTHON: &str = "python3.13";
const NODE: &str = "nodejs24.x";
const OWN: &str = "provided.al2023";

/// The file that is a runtime of its own.
const BOOTSTRAP: &str = "bootstrap";

/// Names that a function in a Python file may have. The first one that is there counts.
const PYTHON_FUNCTIONS: [&str; 2] = ["lambda_handler", "handler"];

/// The Python file of AWS's console, which counts where several have a handler.
const USUAL_PYTHON_FILE: &str = "lambda_function.py";

/// Endings of JavaScript files.
const NODE_ENDINGS: [&str; 3] = ["mjs", "js", "cjs"];

/// A file directly in the folder or zip that may say what the function is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SourceFile {
    pub(super) name: String,
    /// Its text, or the beginning of it.
    pub(super) text: String,
    pub(super) is_executable: bool,
}

/// What runs a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) runtime: String,
    pub(super) handler: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Language {
    Python,
    Node,
    /// A program of its own.
    Own,
}

impl Language {
    fn of_runtime(runtime: &str) -> Option<Self> {
        let languages = [
            ("python", Self::Python),
            ("nodejs", Self::Node),
            ("provided", Self::Own),
        ];
        let found = languages
            .into_iter()
            .find(|(name, _)| runtime.starts_with(name));
        found.map(|(_, language)| language)
    }

    fn runtime(self) -> &'static str {
        match self {
            Self::Python => PYTHON,
            Self::Node => NODE,
            Self::Own => OWN,
        }
    }
}

/// Something that can be called.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Candidate<'a> {
    language: Language,
    file: &'a str,
    handler: String,
}

/// Runtime and handler: what was typed, and what the files say of the rest.
pub(super) fn entry(
    files: &[SourceFile],
    runtime: Option<&str>,
    handler: Option<&str>,
) -> Result<Entry, Unfit> {
    let entry = match (runtime, handler) {
        (Some(runtime), Some(handler)) => Entry {
            runtime: runtime.to_owned(),
            handler: handler.to_owned(),
        },
        (Some(runtime), None) => Entry {
            handler: handler_for(files, runtime)?,
            runtime: runtime.to_owned(),
        },
        (None, Some(handler)) => Entry {
            runtime: runtime_for(files, handler)?.to_owned(),
            handler: handler.to_owned(),
        },
        (None, None) => {
            let chosen = choose(candidates(files))?;
            Entry {
                runtime: chosen.language.runtime().to_owned(),
                handler: chosen.handler,
            }
        }
    };
    check_bootstrap(files, &entry.runtime)?;
    Ok(entry)
}

fn handler_for(files: &[SourceFile], runtime: &str) -> Result<String, Unfit> {
    let mut candidates = candidates(files);
    match Language::of_runtime(runtime) {
        Some(language) => candidates.retain(|candidate| candidate.language == language),
        None => candidates.clear(),
    }
    if candidates.is_empty() {
        return Err(Unfit(format!(
            "nothing here says what {runtime} has to call; name it with --handler FILE.FUNCTION"
        )));
    }
    Ok(choose(candidates)?.handler)
}

/// The runtime of the file that a handler names.
fn runtime_for(files: &[SourceFile], handler: &str) -> Result<&'static str, Unfit> {
    let is_there = |name: &str| files.iter().any(|file| file.name == name);
    let named = handler.strip_prefix("./").unwrap_or(handler);
    let module = named.rsplit_once('.').map_or(named, |(module, _)| module);
    let is_node = NODE_ENDINGS
        .iter()
        .any(|ending| is_there(&format!("{module}.{ending}")));
    let language = if is_there(&format!("{module}.py")) {
        Language::Python
    } else if is_node {
        Language::Node
    } else if is_there(BOOTSTRAP) {
        Language::Own
    } else {
        return Err(Unfit(format!(
            "no file here tells the runtime of {handler}; name it with --runtime, as {PYTHON} or {OWN}"
        )));
    };
    Ok(language.runtime())
}

fn candidates(files: &[SourceFile]) -> Vec<Candidate<'_>> {
    files.iter().filter_map(candidate).collect()
}

fn candidate(file: &SourceFile) -> Option<Candidate<'_>> {
    let found = |language, handler| Candidate {
        language,
        file: &file.name,
        handler,
    };
    if file.name == BOOTSTRAP {
        return Some(found(Language::Own, BOOTSTRAP.to_owned()));
    }
    let (stem, ending) = file.name.rsplit_once('.')?;
    if ending == "py" {
        let function = PYTHON_FUNCTIONS
            .into_iter()
            .find(|name| defines(&file.text, name))?;
        return Some(found(Language::Python, format!("{stem}.{function}")));
    }
    let is_index = stem == "index" && NODE_ENDINGS.contains(&ending);
    (is_index && exports_handler(&file.text))
        .then(|| found(Language::Node, "index.handler".to_owned()))
}

/// Whether a Python text has a function of that name at its top level.
fn defines(text: &str, name: &str) -> bool {
    text.lines().any(|line| {
        let rest = line.strip_prefix("def ").unwrap_or_default();
        let rest = rest.trim_start().strip_prefix(name);
        rest.is_some_and(|rest| rest.trim_start().starts_with('('))
    })
}

/// Whether a JavaScript text exports a `handler`, as CommonJS or as a module.
fn exports_handler(text: &str) -> bool {
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    text.contains("export")
        && text
            .split(|character| !is_word(character))
            .any(|word| word == "handler")
}

fn choose(mut candidates: Vec<Candidate<'_>>) -> Result<Candidate<'_>, Unfit> {
    if candidates.len() > 1
        && candidates
            .iter()
            .all(|candidate| candidate.language == Language::Python)
        && let Some(usual) = candidates
            .iter()
            .position(|candidate| candidate.file == USUAL_PYTHON_FILE)
    {
        return Ok(candidates.swap_remove(usual));
    }
    match candidates.as_slice() {
        [] => Err(Unfit(
            "nothing here says what to call: no Python file with `def lambda_handler` or `def handler`, no index.mjs or \
             index.js that exports a `handler`, no `bootstrap`; name --runtime and --handler"
                .to_owned(),
        )),
        [_] => Ok(candidates.remove(0)),
        many => {
            let told = many.iter().map(|candidate| {
                format!("{} ({})", candidate.handler, candidate.language.runtime())
            });
            Err(Unfit(format!(
                "there is more than one handler: {}; name one with --runtime and --handler",
                told.collect::<Vec<_>>().join(", ")
            )))
        }
    }
}

/// A bootstrap that nobody may run would be told at the first invocation only.
fn check_bootstrap(files: &[SourceFile], runtime: &str) -> Result<(), Unfit> {
    let mut files = files.iter();
    match files.find(|file| file.name == BOOTSTRAP && !file.is_executable) {
        Some(_) if Language::of_runtime(runtime) == Some(Language::Own) => Err(Unfit(
            "bootstrap is not executable: `chmod +x bootstrap`".to_owned(),
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HANDLER: &str = "import json\n\ndef handler(event, context):\n    return event\n";

    fn file(name: &str, text: &str) -> SourceFile {
        SourceFile {
            name: name.to_owned(),
            text: text.to_owned(),
            is_executable: true,
        }
    }

    fn guessed(files: &[SourceFile]) -> Result<(String, String), String> {
        let found = entry(files, None, None).map_err(|error| error.to_string())?;
        Ok((found.runtime, found.handler))
    }

    fn is(runtime: &str, handler: &str) -> Result<(String, String), String> {
        Ok((runtime.to_owned(), handler.to_owned()))
    }

    #[test]
    fn plain_files_say_what_they_are() {
        let python = file("app.py", HANDLER);
        assert_eq!(guessed(&[python]), is(PYTHON, "app.handler"));
        let both = "def handler (e, c): pass\ndef lambda_handler(e, c): pass\n";
        assert_eq!(
            guessed(&[
                file("x.py", both),
                file("helper.py", "def handle(): pass\n")
            ]),
            is(PYTHON, "x.lambda_handler")
        );
        for (name, text) in [
            (
                "index.mjs",
                "export const handler = async event => event;\n",
            ),
            ("index.js", "exports.handler = async () => 1;\n"),
            ("index.cjs", "module.exports = { handler };\n"),
        ] {
            assert_eq!(
                guessed(&[file(name, text)]),
                is(NODE, "index.handler"),
                "{name}"
            );
        }
        let program = [file("bootstrap", "\u{7f}ELF"), file("data.txt", "")];
        assert_eq!(guessed(&program), is(OWN, "bootstrap"));
    }

    #[test]
    fn what_is_not_plain_is_asked_for() {
        let nothing = guessed(&[file(
            "main.py",
            "def main(): pass\n    def handler(a): pass\n",
        )]);
        assert!(nothing.unwrap_err().contains("--handler"));
        let other = file("index.js", "exports.handlers = 1;\n");
        assert!(guessed(&[other]).is_err());
        let two = [file("a.py", HANDLER), file("b.py", HANDLER)];
        let told = guessed(&two).unwrap_err();
        assert!(
            told.contains("a.handler") && told.contains("b.handler"),
            "{told}"
        );
        let mixed = [file("a.py", HANDLER), file("bootstrap", "")];
        assert!(guessed(&mixed).is_err());
        let usual = [file("a.py", HANDLER), file("lambda_function.py", HANDLER)];
        assert_eq!(guessed(&usual), is(PYTHON, "lambda_function.handler"));
    }

    #[test]
    fn what_was_typed_counts() {
        let files = [
            file("a.py", HANDLER),
            file("index.mjs", "export function handler() {}"),
        ];
        let of = |runtime, handler| {
            entry(&files, runtime, handler).map(|entry| (entry.runtime, entry.handler))
        };
        let pair = |runtime: &str, handler: &str| (runtime.to_owned(), handler.to_owned());
        assert_eq!(
            of(Some("python3.11"), None).unwrap(),
            pair("python3.11", "a.handler")
        );
        assert_eq!(
            of(None, Some("./index.other")).unwrap(),
            pair(NODE, "./index.other")
        );
        assert_eq!(of(None, Some("a.main")).unwrap(), pair(PYTHON, "a.main"));
        assert_eq!(
            of(Some("java21"), Some("A::b")).unwrap(),
            pair("java21", "A::b")
        );
        assert!(
            of(Some("java21"), None)
                .unwrap_err()
                .to_string()
                .contains("--handler")
        );
        assert!(
            of(None, Some("pkg.mod.f"))
                .unwrap_err()
                .to_string()
                .contains("--runtime")
        );
    }

    #[test]
    fn a_bootstrap_has_to_be_executable() {
        let mut bootstrap = file("bootstrap", "#!/bin/sh\n");
        bootstrap.is_executable = false;
        let files = [bootstrap];
        assert!(guessed(&files).unwrap_err().contains("chmod"));
        assert!(entry(&files, Some(OWN), Some("x")).is_err());
        // To Python it is a file like others.
        assert!(entry(&files, Some(PYTHON), Some("a.b")).is_ok());
    }
}
