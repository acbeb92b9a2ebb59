//! The emulated host's console: a file that QEMU appends to. The process that watches the host limits its size.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// The console log is cut when it is larger than this. Only kernel messages go there, so a megabyte of them means
/// that something floods the log.
const MAX_CONSOLE_BYTES: u64 = 4 << 20;

/// Bytes at the end of the log that are shown, and searched for a kernel panic.
const TAIL_BYTES: u64 = 16 << 10;

/// Beginnings of the lines that a kernel prints when it cannot continue.
const LAST_WORDS: &[&str] = &[
    "Kernel panic - not syncing",
    "Oops:",
    "BUG:",
    "general protection fault",
    "Unable to calibrate against PIT",
];

/// The end of the console log, without the line that the cut may have left at its start.
pub(crate) fn tail(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let start = length.saturating_sub(TAIL_BYTES);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    match text.split_once('\n') {
        Some((_, rest)) if start > 0 => Ok(rest.to_owned()),
        _ => Ok(text),
    }
}

/// The line of a kernel panic, if there is one.
pub(crate) fn last_words(tail: &str) -> Option<&str> {
    tail.lines()
        .find(|line| LAST_WORDS.iter().any(|words| line.contains(words)))
        .map(str::trim)
}

/// Cuts a log that has grown beyond its limit; its end is kept beside, as `<name>.old`.
///
/// QEMU has opened the file for appending, so it goes on at the new end.
pub(crate) fn bound(path: &Path) -> io::Result<()> {
    if fs::metadata(path)?.len() <= MAX_CONSOLE_BYTES {
        return Ok(());
    }
    fs::write(path.with_extension("log.old"), tail(path)?)?;
    OpenOptions::new().write(true).open(path)?.set_len(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_found_in_the_tail() {
        let text = "[ 1.0] fine\n[ 2.0] Kernel panic - not syncing: Fatal exception\n[ 2.1] more\n";
        assert_eq!(
            last_words(text),
            Some("[ 2.0] Kernel panic - not syncing: Fatal exception")
        );
        assert_eq!(last_words("[ 1.0] fine\n"), None);
    }

    #[test]
    fn a_flood_is_cut_and_its_end_kept() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("console.log");
        let line = "x".repeat(99) + "\n";
        fs::write(&path, line.repeat(MAX_CONSOLE_BYTES as usize / 100 + 2)).unwrap();
        bound(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), 0);
        let kept = fs::read_to_string(scratch.path().join("console.log.old")).unwrap();
        assert!(kept.len() as u64 <= TAIL_BYTES && kept.starts_with(&line));
    }
}
