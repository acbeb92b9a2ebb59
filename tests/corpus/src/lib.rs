//! Fuzz targets as ordinary tests: over the corpus of a target, and over what a small mutator makes of it.
//!
//! ```text
//! fuzz/corpus/TARGET/*  ──>  body(input)   each as it is
//!                       ──>  cut, changed, doubled, joined with another, words of the format put in  ──>  body(input)
//! ```
//!
//! The same inputs in every run, so that a failure can be repeated. With `HEARTH_FUZZ_SECONDS` set, each target goes on for so
//! long, from a new beginning. It knows nothing of coverage: `cargo fuzz` does (`fuzz/`), with the same bodies and corpora.

#![forbid(unsafe_code)]

mod mutator;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mutator::Mutator;

/// Inputs of an ordinary test: some tenths of a second for the bodies that there are.
const INPUTS: usize = 3_000;

/// Sets how many seconds each target runs.
const SECONDS: &str = "HEARTH_FUZZ_SECONDS";

/// Where an ordinary test begins.
const BEGINNING: u64 = 0x9e37_79b9_7f4a_7c15;

/// Runs a target. `words` are texts of its format that changes would rarely hit upon.
///
/// # Panics
///
/// When the body does, after the input was printed; and when there is no corpus.
#[allow(clippy::print_stderr, reason = "a test says how far it came")]
pub fn run(target: &str, words: &[&[u8]], body: impl Fn(&[u8])) {
    let corpus = corpus(target);
    for input in &corpus {
        tell(input, &body);
    }
    let seconds = std::env::var(SECONDS)
        .ok()
        .and_then(|text| text.parse().ok());
    let Some(seconds) = seconds else {
        let mut mutator = Mutator::new(BEGINNING, &corpus, words);
        for _ in 0..INPUTS {
            tell(&mutator.input(), &body);
        }
        return;
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let beginning = now.map_or(BEGINNING, |now| now.as_nanos() as u64 | 1);
    let mut mutator = Mutator::new(beginning, &corpus, words);
    let (began, mut inputs) = (Instant::now(), 0_u64);
    while began.elapsed() < Duration::from_secs(seconds) {
        tell(&mutator.input(), &body);
        inputs += 1;
    }
    eprintln!("{target}: {inputs} inputs in {seconds} s");
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    let entries = fs::read_dir(directory.join(target));
    let entries = entries.unwrap_or_else(|error| panic!("{target} has no corpus: {error}"));
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    // Not in the order in which a file system happens to keep them.
    paths.sort();
    let read = |path| fs::read(path).unwrap_or_else(|error| panic!("{target}: {error}"));
    let corpus: Vec<_> = paths.into_iter().map(read).collect();
    assert!(!corpus.is_empty(), "the corpus of {target} is empty");
    corpus
}

/// Prints the input when the body panics.
fn tell(input: &[u8], body: &impl Fn(&[u8])) {
    struct Told<'a>(&'a [u8]);
    #[allow(clippy::print_stderr, reason = "whoever repairs it needs the input")]
    impl Drop for Told<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("the input was b\"{}\"", self.0.escape_ascii());
            }
        }
    }
    let told = Told(input);
    body(told.0);
}
