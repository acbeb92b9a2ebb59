//! A log file that is rotated: the newest lines in the file and a fixed number of older files.
//!
//! ```text
//! open audit.log.new -> .7 to .8 ... .1 to .2 -> audit.log to .1 -> audit.log.new to audit.log
//! ```
//!
//! If a step fails, the open file stays in use, and the next attempt continues where this one ended. However often
//! rotation fails, no more than the oldest file is lost.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Size at which the file is rotated.
pub(super) const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// Bytes written before a failed rotation is retried: some thousand requests.
const RETRY_BYTES: u64 = 1024 * 1024;

/// The current file, and the older files.
pub(super) struct RotatedFile {
    path: PathBuf,
    /// Files kept besides the current one.
    kept_files: u32,
    file: File,
    size_bytes: u64,
    /// The size at which the file is rotated.
    rotate_at_bytes: u64,
    /// Whether the last line was written only in part.
    is_torn: bool,
}

impl RotatedFile {
    /// Opens the file at `path` for appending.
    pub(super) fn open(path: &Path, kept_files: u32) -> io::Result<Self> {
        let file = open(path)?;
        let size_bytes = file.metadata()?.len();
        Ok(Self {
            path: path.to_owned(),
            kept_files,
            file,
            size_bytes,
            rotate_at_bytes: MAX_FILE_BYTES,
            is_torn: false,
        })
    }

    /// Writes a line. A failed rotation is logged and does not keep the line from being written.
    pub(super) fn append(&mut self, line: &[u8]) -> io::Result<()> {
        if self.size_bytes + line.len() as u64 > self.rotate_at_bytes {
            match self.rotate() {
                Ok(()) => self.rotate_at_bytes = MAX_FILE_BYTES,
                Err(error) => {
                    tracing::error!(%error, "audit log cannot be rotated; the file grows until it can");
                    self.rotate_at_bytes = self.size_bytes + RETRY_BYTES;
                }
            }
        }
        if self.is_torn {
            self.file.write_all(b"\n")?;
            self.is_torn = false;
        }
        self.is_torn = true;
        self.file.write_all(line)?;
        self.is_torn = false;
        self.size_bytes += line.len() as u64;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let new_path = self.path.with_extension("log.new");
        // A file that an earlier attempt has left is empty.
        let new = open(&new_path)?;
        if exists(&self.path)? {
            self.free_first()?;
            std::fs::rename(&self.path, self.numbered(1))?;
        }
        std::fs::rename(&new_path, &self.path)?;
        (self.file, self.size_bytes) = (new, 0);
        Ok(())
    }

    /// Frees number 1. An attempt that failed in the middle has left a gap: only files before the gap have to move.
    fn free_first(&self) -> io::Result<()> {
        let mut first_free = 1;
        while first_free < self.kept_files && exists(&self.numbered(first_free))? {
            first_free += 1;
        }
        for number in (1..first_free).rev() {
            std::fs::rename(self.numbered(number), self.numbered(number + 1))?;
        }
        Ok(())
    }

    fn numbered(&self, number: u32) -> PathBuf {
        self.path.with_extension(format!("log.{number}"))
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
}

/// Whether a file exists, even if it is a dangling link.
fn exists(path: &Path) -> io::Result<bool> {
    match path.symlink_metadata() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const KEPT_FILES: u32 = 8;

    #[test]
    fn old_files_go_and_nobody_else_reads_any() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.log");
        for number in 0..20_u64 {
            let mut writer = RotatedFile::open(&path, KEPT_FILES).unwrap();
            writer.size_bytes = MAX_FILE_BYTES;
            writer.append(format!("{number}\n").as_bytes()).unwrap();
        }
        let files: Vec<_> = std::fs::read_dir(directory.path())
            .unwrap()
            .flatten()
            .collect();
        assert_eq!(files.len(), KEPT_FILES as usize + 1);
        for file in files {
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
        let oldest = std::fs::read(directory.path().join(format!("audit.log.{KEPT_FILES}")));
        assert_eq!(oldest.unwrap(), b"11\n");
    }

    #[test]
    fn a_full_file_makes_room() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.log");
        let mut writer = RotatedFile::open(&path, KEPT_FILES).unwrap();
        writer.append(b"first\n").unwrap();
        writer.size_bytes = MAX_FILE_BYTES;
        writer.append(b"second\n").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"second\n");
        assert_eq!(
            std::fs::read(directory.path().join("audit.log.1")).unwrap(),
            b"first\n"
        );
    }

    /// Everything in the directory, by name.
    fn contents(directory: &Path) -> Vec<(String, String)> {
        let mut files: Vec<_> = std::fs::read_dir(directory)
            .unwrap()
            .flatten()
            .filter(|entry| entry.path().is_file())
            .map(|entry| {
                let name = entry.file_name().into_string().unwrap();
                (name, std::fs::read_to_string(entry.path()).unwrap())
            })
            .collect();
        files.sort();
        files
    }

    fn full(path: &Path) -> RotatedFile {
        let mut writer = RotatedFile::open(path, KEPT_FILES).unwrap();
        writer.size_bytes = MAX_FILE_BYTES;
        writer
    }

    /// Where the new file cannot be opened, a directory lies in its place: as root no mode would keep us out.
    #[test]
    fn a_rotation_that_cannot_open_its_file_loses_no_line_and_no_history() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.log");
        for number in 0..12 {
            full(&path)
                .append(format!("{number}\n").as_bytes())
                .unwrap();
        }
        let before = contents(directory.path());
        let obstacle = directory.path().join("audit.log.new");
        std::fs::create_dir(&obstacle).unwrap();
        let mut writer = full(&path);
        for number in 0..100 {
            writer
                .append(format!("more {number}\n").as_bytes())
                .unwrap();
        }
        let after = contents(directory.path());
        assert_eq!(after[1..], before[1..], "the older files are as they were");
        let more: String = (0..100).map(|number| format!("more {number}\n")).collect();
        assert_eq!(after[0].1, format!("11\n{more}"));

        // It is not tried with each line, but again, and it works once the obstacle is gone.
        std::fs::remove_dir(&obstacle).unwrap();
        writer.append(b"not yet\n").unwrap();
        assert!(!directory.path().join("audit.log.new").exists());
        writer.size_bytes += RETRY_BYTES;
        writer.append(b"rotated\n").unwrap();
        assert_eq!(contents(directory.path())[0].1, "rotated\n");
        assert_eq!(writer.rotate_at_bytes, MAX_FILE_BYTES);
    }

    /// Wherever in the shift it fails, and however often: what is there stays, and only a finished rotation drops the oldest.
    #[test]
    fn a_shift_that_fails_in_the_middle_loses_nothing() {
        for blocked in 2..=KEPT_FILES {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("audit.log");
            for number in 0..=KEPT_FILES {
                full(&path)
                    .append(format!("{number}\n").as_bytes())
                    .unwrap();
            }
            // A directory cannot be replaced by a file.
            let place = directory.path().join(format!("audit.log.{blocked}"));
            std::fs::remove_file(&place).unwrap();
            std::fs::create_dir(&place).unwrap();
            let mut kept: Vec<String> = contents(directory.path())
                .into_iter()
                .map(|(_, text)| text)
                .filter(|text| *text != "0\n")
                .collect();
            let mut writer = full(&path);
            for attempt in 0..20 {
                writer
                    .append(format!("more {attempt}\n").as_bytes())
                    .unwrap();
                writer.size_bytes += RETRY_BYTES;
            }
            let found: String = contents(directory.path())
                .into_iter()
                .map(|(_, text)| text)
                .collect();
            kept.extend((0..20).map(|attempt| format!("more {attempt}\n")));
            for line in kept {
                assert!(
                    found.contains(&line),
                    "blocked at {blocked}: {line} is lost"
                );
            }
        }
    }

    #[test]
    fn a_file_that_somebody_removed_is_begun_anew() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.log");
        for number in 0..3 {
            full(&path)
                .append(format!("{number}\n").as_bytes())
                .unwrap();
        }
        let mut writer = full(&path);
        std::fs::remove_file(&path).unwrap();
        writer.append(b"new\n").unwrap();
        // The last one is the empty file that the first rotation moved.
        let names = ["audit.log", "audit.log.1", "audit.log.2", "audit.log.3"];
        let texts = ["new\n", "1\n", "0\n", ""];
        let expected = names.into_iter().zip(texts);
        let expected: Vec<_> = expected
            .map(|(name, text)| (name.to_owned(), text.to_owned()))
            .collect();
        assert_eq!(contents(directory.path()), expected);
    }

    #[test]
    fn a_line_after_a_torn_one_stands_by_itself() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.log");
        let mut writer = RotatedFile::open(&path, KEPT_FILES).unwrap();
        let readable = std::mem::replace(&mut writer.file, File::open(&path).unwrap());
        assert!(writer.append(b"lost\n").is_err());
        writer.file = readable;
        writer.file.write_all(b"to").unwrap();
        writer.append(b"whole\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "to\nwhole\n");
    }
}
