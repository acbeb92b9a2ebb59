//! `hearth snapshot verify`: reads all files of a snapshot and reports damage.

use std::path::{Path, PathBuf};

use crate::body::{FileRecord, STATE_FILE, SnapshotId};
use crate::chunks;
use crate::header::HeaderError;
use crate::limits::Limits;
use crate::open::{self, OpenError, OpenOptions, OpenSnapshot};
use crate::plain;

/// A problem of a snapshot.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// Header, body or the list of checksums is not valid, so the files cannot be checked.
    #[error(transparent)]
    State(#[from] OpenError),
    /// A sealed file cannot be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A sealed file has another size.
    #[error("{path} has {found} bytes, {expected} were sealed")]
    Length {
        /// The file.
        path: PathBuf,
        /// Its size now.
        found: u64,
        /// Its size when it was sealed.
        expected: u64,
    },
    /// Chunks of a sealed file differ from what was sealed.
    #[error("{path}: {} of its chunks are corrupt, the first at byte {}", .chunks.len(), u64::from(.chunks[0]) * chunks::CHUNK_BYTES)]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Indices of the bad chunks; at least one.
        chunks: Vec<u32>,
    },
}

impl Problem {
    /// Whether the files differ from what was sealed. `false` if a file could not be read for lack of descriptors or
    /// memory, and for a snapshot of another release: those may be intact.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Unreadable { source, .. } | Self::State(OpenError::Read { source, .. }) => {
                source.kind() == std::io::ErrorKind::NotFound
                    || source.raw_os_error() == Some(libc::EIO)
            }
            Self::State(OpenError::Header {
                source: HeaderError::Version { .. } | HeaderError::Architecture { .. },
                ..
            }) => false,
            Self::State(_) | Self::Length { .. } | Self::Corrupt { .. } => true,
        }
    }
}

/// Checks every byte of the snapshot in `directory`, without its ancestors. [`verify_chain`] also checks that the chain
/// fits together.
pub fn verify(directory: &Path) -> Vec<Problem> {
    let (header, body, _) = match open::read_state(directory) {
        Ok(state) => state,
        Err(error) => return vec![error.into()],
    };
    let mut problems = Vec::new();
    let limits = Limits::FORMAT;
    let sense = open::check_chain(&header, &body, &limits)
        .and_then(|()| open::checked_map(&header, &body, &limits).map(drop));
    if let Err(what) = sense {
        let path = directory.join(STATE_FILE);
        problems.push(OpenError::Value { path, what }.into());
    }
    let hashes = match open::read_hashes(directory, &body) {
        Ok(hashes) => hashes,
        Err(error) => {
            problems.push(error.into());
            return problems;
        }
    };
    let check = |(index, record): (usize, &FileRecord)| {
        let path = directory.join(&record.name);
        verify_one(path, record.bytes, index as u32, &hashes).err()
    };
    problems.extend(body.files.iter().enumerate().filter_map(check));
    problems
}

/// Same as [`verify`], and checks that the snapshot opens: the ancestors, in the directories that `place` answers, are
/// those that it was sealed on, and every run of its map lies inside one of their files. The bytes of the ancestors are
/// not read.
pub fn verify_chain(directory: &Path, place: impl Fn(SnapshotId) -> PathBuf) -> Vec<Problem> {
    let mut problems = verify(directory);
    let Ok((_, body, id)) = open::read_state(directory) else {
        return problems;
    };
    let ancestors: Vec<PathBuf> = body.ancestors.iter().copied().map(place).collect();
    let verified: Vec<SnapshotId> = std::iter::once(id).chain(body.ancestors).collect();
    let options = OpenOptions {
        verified: &verified,
        ..OpenOptions::default()
    };
    // What is wrong with this snapshot's own files has been told.
    if problems.is_empty()
        && let Err(error) = OpenSnapshot::open_with(directory, &ancestors, &options)
    {
        problems.push(error.into());
    }
    problems
}

fn verify_one(
    path: PathBuf,
    expected: u64,
    index: u32,
    hashes: &[chunks::ChunkHash],
) -> Result<(), Problem> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| Problem::Unreadable { path, source }
    };
    let file = plain::open(&path).map_err(unreadable(&path))?;
    let found = file.metadata().map_err(unreadable(&path))?.len();
    if found != expected {
        return Err(Problem::Length {
            path,
            found,
            expected,
        });
    }
    let bad = chunks::verify_file(&file, index, hashes).map_err(unreadable(&path))?;
    if bad.is_empty() {
        Ok(())
    } else {
        Err(Problem::Corrupt { path, chunks: bad })
    }
}
