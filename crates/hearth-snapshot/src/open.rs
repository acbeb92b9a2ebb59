//! Opens a sealed snapshot, and checks it before any of its data is used.

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::body::{Body, HASHES_FILE, MEMORY_FILE, STATE_FILE, SnapshotId};
use crate::chunks::{self, ChunkHash};
use crate::extents::{ExtentMap, Source};
use crate::header::{HEADER_BYTES, Header, HeaderError, MAX_BODY_BYTES};
use crate::limits::Limits;
use crate::limits::PAGE_BYTES;
use crate::plain;

/// Why a snapshot cannot be opened. Damage and mix-ups are different variants with messages of their own.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The header is not valid.
    #[error("{path}: {source}")]
    Header {
        /// The state file.
        path: PathBuf,
        /// The violation.
        source: HeaderError,
    },
    /// A file is shorter or longer than when it was sealed.
    #[error("{path} has {found} bytes, {expected} were sealed")]
    Length {
        /// The file.
        path: PathBuf,
        /// Its size now.
        found: u64,
        /// Its size when it was sealed.
        expected: u64,
    },
    /// The body's checksum is wrong.
    #[error("{0}: the state of the machine is corrupt (checksum)")]
    Body(PathBuf),
    /// The checksum is right but the content is inconsistent.
    #[error("{path}: the state makes no sense: {what}")]
    Value {
        /// The state file.
        path: PathBuf,
        /// The inconsistency.
        what: &'static str,
    },
    /// The list of chunk hashes does not have the digest that the body names.
    #[error("{0}: the list of checksums is corrupt")]
    Hashes(PathBuf),
    /// A chunk of a layer's memory does not have its checksum.
    #[error("{path}: memory is corrupt in chunk {chunk} (checksum)")]
    Memory {
        /// The memory file.
        path: PathBuf,
        /// Index of the first bad chunk.
        chunk: u32,
    },
    /// The number of given ancestors does not match the chain.
    #[error("the snapshot has {expected} ancestors, {found} were given")]
    ChainLength {
        /// Number of ancestors when the snapshot was sealed.
        expected: usize,
        /// Number of ancestors that were given.
        found: usize,
    },
    /// The directory of an ancestor holds another snapshot.
    #[error("{path} is snapshot {found}, the chain needs {expected} there")]
    WrongParent {
        /// Directory of the ancestor.
        path: PathBuf,
        /// Id of the snapshot in that directory.
        found: SnapshotId,
        /// Id of the ancestor.
        expected: SnapshotId,
    },
}

/// The snapshot that guest memory was mapped from, with its ancestors and map.
#[derive(Debug, Clone)]
pub struct Lineage {
    /// The snapshot that memory was mapped from.
    pub id: SnapshotId,
    /// The ancestors of that snapshot, nearest first.
    pub ancestors: Vec<SnapshotId>,
    /// The merged map of that snapshot.
    pub extents: ExtentMap,
}

/// Description of a snapshot, read from its state file alone.
#[derive(Debug, Clone)]
pub struct Description {
    /// Identity.
    pub id: SnapshotId,
    /// Ids of the ancestors, nearest first.
    pub ancestors: Vec<SnapshotId>,
    /// Bytes of RAM.
    pub ram_bytes: u64,
    /// Names and sizes of the sealed files.
    pub files: Vec<(String, u64)>,
    /// Runs of the merged map.
    pub runs: usize,
    /// Bytes of the memory file: the size of RAM for a full snapshot, the size of the packed pages for a layer.
    pub memory_bytes: u64,
}

/// Reads the description of the snapshot in `directory`. Header and body are checked; nothing else is read.
pub fn describe(directory: &Path) -> Result<Description, OpenError> {
    let (header, body, id) = read_state(directory)?;
    let files = body
        .files
        .into_iter()
        .map(|record| (record.name, record.bytes))
        .collect();
    Ok(Description {
        id,
        ancestors: body.ancestors,
        ram_bytes: header.ram_bytes,
        files,
        runs: body.extents.len(),
        memory_bytes: header.memory_bytes,
    })
}

/// How thoroughly a chain is checked when it is opened.
#[derive(Debug, Clone, Copy)]
pub struct OpenOptions<'a> {
    /// Snapshots whose chunks were all verified since they were sealed, and that nobody could write to since. Their
    /// memory is not read again; of ancestors only the header is read.
    pub verified: &'a [SnapshotId],
    /// Limits on the chain and the map.
    pub limits: Limits,
}

impl Default for OpenOptions<'_> {
    fn default() -> Self {
        Self {
            verified: &[],
            limits: Limits::FORMAT,
        }
    }
}

/// A snapshot that was checked and can be restored.
#[derive(Debug)]
pub struct OpenSnapshot {
    ram_bytes: u64,
    machine: Vec<u8>,
    lineage: Lineage,
    /// Memory files of the chain; index = distance, the last is the full one.
    memory: Vec<File>,
}

impl OpenSnapshot {
    /// Opens the snapshot in `directory` whose ancestors, nearest first, are in `ancestors`.
    ///
    /// It checks the header, body and identity of every member of the chain, the sizes of the memory files, and every
    /// chunk of the layers' memory. The full snapshot's memory is not read, as that would take time proportional to
    /// RAM; [`crate::verify()`] does it.
    pub fn open(directory: &Path, ancestors: &[PathBuf]) -> Result<Self, OpenError> {
        Self::open_with(directory, ancestors, &OpenOptions::default())
    }

    /// Same as [`Self::open`], with options: snapshots that are known to be verified are not read again.
    pub fn open_with(
        directory: &Path,
        ancestors: &[PathBuf],
        options: &OpenOptions<'_>,
    ) -> Result<Self, OpenError> {
        let (header, body, id) = read_state(directory)?;
        if body.ancestors.len() != ancestors.len() {
            return Err(OpenError::ChainLength {
                expected: body.ancestors.len(),
                found: ancestors.len(),
            });
        }
        let state_path = directory.join(STATE_FILE);
        let nonsense = |what| OpenError::Value {
            path: state_path.clone(),
            what,
        };
        check_chain(&header, &body, &options.limits).map_err(nonsense)?;

        let own_memory = open_memory(directory, &header)?;
        if !options.verified.contains(&id) {
            verify_memory(directory, &own_memory, &header, &body)?;
        }
        let mut memory = vec![own_memory];
        for (distance, (path, expected)) in (1..).zip(ancestors.iter().zip(&body.ancestors)) {
            let (ancestor, file) = open_ancestor(path, *expected, options)?;
            let is_bottom = distance == ancestors.len();
            if ancestor.parent.is_none() != is_bottom || ancestor.ram_bytes != header.ram_bytes {
                return Err(nonsense(
                    "its ancestors are not layers above one full snapshot of its size",
                ));
            }
            memory.push(file);
        }
        let extents = checked_map(&header, &body, &options.limits).map_err(nonsense)?;
        check_extents(&extents, &memory).map_err(|error| match error {
            Ok(what) => nonsense(what),
            Err(source) => OpenError::Read {
                path: directory.join(MEMORY_FILE),
                source,
            },
        })?;
        Ok(Self {
            ram_bytes: header.ram_bytes,
            machine: body.machine,
            lineage: Lineage {
                id,
                ancestors: body.ancestors,
                extents,
            },
            memory,
        })
    }

    /// Identity.
    pub fn id(&self) -> SnapshotId {
        self.lineage.id
    }

    /// Bytes of RAM.
    pub fn ram_bytes(&self) -> u64 {
        self.ram_bytes
    }

    /// State of the machine, as passed to [`crate::Capture::seal`].
    pub fn machine(&self) -> &[u8] {
        &self.machine
    }

    /// Identity, ancestors and merged map.
    pub fn lineage(&self) -> &Lineage {
        &self.lineage
    }

    pub(crate) fn full_memory(&self) -> &File {
        &self.memory[self.memory.len() - 1]
    }

    /// The memory file at that distance; `open` checked that every distance of the map exists.
    pub(crate) fn memory_file(&self, distance: u16) -> &File {
        &self.memory[usize::from(distance)]
    }
}

/// Reads the header and opens the memory file of an ancestor, whose id must be `expected`.
fn open_ancestor(
    directory: &Path,
    expected: SnapshotId,
    options: &OpenOptions<'_>,
) -> Result<(Header, File), OpenError> {
    let same = |found| {
        let path = directory.to_owned();
        (found == expected)
            .then_some(())
            .ok_or(OpenError::WrongParent {
                path,
                found,
                expected,
            })
    };
    if options.verified.contains(&expected) {
        let (header, found) = read_header(directory)?;
        same(found)?;
        let memory = open_memory(directory, &header)?;
        return Ok((header, memory));
    }
    let (header, body, found) = read_state(directory)?;
    same(found)?;
    let memory = open_memory(directory, &header)?;
    verify_memory(directory, &memory, &header, &body)?;
    Ok((header, memory))
}

/// Reads and checks the header of the snapshot in `directory`, and computes its identity.
fn read_header(directory: &Path) -> Result<(Header, SnapshotId), OpenError> {
    let path = directory.join(STATE_FILE);
    let mut bytes = Vec::with_capacity(HEADER_BYTES);
    plain::open(&path)
        .and_then(|file| file.take(HEADER_BYTES as u64).read_to_end(&mut bytes))
        .map_err(|source| OpenError::Read {
            path: path.clone(),
            source,
        })?;
    let header = Header::decode(&bytes).map_err(|source| OpenError::Header { path, source })?;
    Ok((header, SnapshotId::of_header(&bytes)))
}

/// Reads and checks header and body of the snapshot in `directory`.
pub(crate) fn read_state(directory: &Path) -> Result<(Header, Body, SnapshotId), OpenError> {
    let path = directory.join(STATE_FILE);
    let read = |source| OpenError::Read {
        path: path.clone(),
        source,
    };
    let file = plain::open(&path).map_err(read)?;
    let found = file.metadata().map_err(read)?.len();
    let most = MAX_BODY_BYTES + HEADER_BYTES as u64;
    if found > most {
        let expected = MAX_BODY_BYTES;
        return Err(OpenError::Length {
            path,
            found,
            expected,
        });
    }
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes).map_err(read)?;
    parse_state(&path, &bytes)
}

/// Parses a state file with these bytes to header, body and identity. `path` is for error messages.
pub(crate) fn parse_state(
    path: &Path,
    bytes: &[u8],
) -> Result<(Header, Body, SnapshotId), OpenError> {
    let path = || path.to_owned();
    let header = Header::decode(bytes).map_err(|source| OpenError::Header {
        path: path(),
        source,
    })?;
    let expected = HEADER_BYTES as u64 + header.body_bytes;
    let found = bytes.len() as u64;
    if found != expected {
        return Err(OpenError::Length {
            path: path(),
            found,
            expected,
        });
    }
    let body_bytes = &bytes[HEADER_BYTES..];
    if *blake3::hash(body_bytes).as_bytes() != header.body_hash {
        return Err(OpenError::Body(path()));
    }
    let body = decode_body(body_bytes).ok_or_else(|| OpenError::Value {
        path: path(),
        what: "it does not decode",
    })?;
    let id = SnapshotId::of_header(&bytes[..HEADER_BYTES]);
    Ok((header, body, id))
}

fn decode_body(bytes: &[u8]) -> Option<Body> {
    let (body, rest) = postcard::take_from_bytes(bytes).ok()?;
    rest.is_empty().then_some(body)
}

/// Fuzz target: parses the bytes as a whole state file, as the body of a valid header, and as a list of checksums.
/// Nothing may panic, and whatever is accepted must keep its invariants.
#[cfg(any(test, feature = "fuzzing"))]
pub fn fuzz_state(bytes: &[u8]) {
    let _ = parse_state(Path::new("state"), bytes);
    let _ = chunks::decode(bytes);
    let Some(body) = decode_body(bytes) else {
        return;
    };
    let ram_pages = (1 << 30) / PAGE_BYTES;
    let max_runs = Limits::FORMAT.runs;
    let Some(map) = ExtentMap::from_sorted(body.extents, ram_pages, max_runs) else {
        return;
    };
    let again = ExtentMap::from_sorted(map.runs().to_vec(), ram_pages, max_runs);
    assert_eq!(
        again.as_ref(),
        Some(&map),
        "an accepted map is accepted again"
    );
}

/// Largest list of chunk hashes in bytes: enough for 1.6 TiB of data.
const MAX_HASHES_BYTES: u64 = 256 << 20;

/// Reads the list of chunk hashes that `body` names.
pub(crate) fn read_hashes(directory: &Path, body: &Body) -> Result<Vec<ChunkHash>, OpenError> {
    let path = directory.join(HASHES_FILE);
    let bytes = plain::read(&path, MAX_HASHES_BYTES).map_err(|source| OpenError::Read {
        path: path.clone(),
        source,
    })?;
    if *blake3::hash(&bytes).as_bytes() != body.hashes_digest {
        return Err(OpenError::Hashes(path));
    }
    chunks::decode(&bytes).ok_or(OpenError::Hashes(path))
}

pub(crate) fn check_chain(
    header: &Header,
    body: &Body,
    limits: &Limits,
) -> Result<(), &'static str> {
    if header.parent != body.ancestors.first().copied() {
        return Err("header and body name different parents");
    }
    if body.ancestors.len() > limits.layers {
        return Err("its chain is longer than the format allows");
    }
    if body.ancestors.is_empty() && !body.extents.is_empty() {
        return Err("a full snapshot has a map");
    }
    Ok(())
}

/// Checks the map of `body`.
pub(crate) fn checked_map(
    header: &Header,
    body: &Body,
    limits: &Limits,
) -> Result<ExtentMap, &'static str> {
    if body.extents.len() > limits.runs {
        return Err("its memory map has more runs than the format allows");
    }
    let ram_pages = header.ram_bytes / PAGE_BYTES;
    ExtentMap::from_sorted(body.extents.clone(), ram_pages, limits.runs)
        .ok_or("its memory map is out of order")
}

/// Opens the memory file, whose length must be that of the header.
fn open_memory(directory: &Path, header: &Header) -> Result<File, OpenError> {
    let path = directory.join(MEMORY_FILE);
    let read = |source| OpenError::Read {
        path: path.clone(),
        source,
    };
    let file = plain::open(&path).map_err(read)?;
    let found = file.metadata().map_err(read)?.len();
    let expected = if header.parent.is_some() {
        header.memory_bytes
    } else {
        header.ram_bytes
    };
    if found != expected {
        return Err(OpenError::Length {
            path,
            found,
            expected,
        });
    }
    Ok(file)
}

/// Verifies every chunk of a layer's memory.
fn verify_memory(
    directory: &Path,
    file: &File,
    header: &Header,
    body: &Body,
) -> Result<(), OpenError> {
    if header.parent.is_none() {
        return Ok(());
    }
    let path = directory.join(MEMORY_FILE);
    let hashes = read_hashes(directory, body)?;
    let bad = chunks::verify_file(file, 0, &hashes).map_err(|source| OpenError::Read {
        path: path.clone(),
        source,
    })?;
    match bad.first() {
        Some(chunk) => Err(OpenError::Memory {
            path,
            chunk: *chunk,
        }),
        None => Ok(()),
    }
}

/// Every run of the map must lie inside its file: a page of a mapping beyond the end of its file is SIGBUS.
fn check_extents(
    extents: &ExtentMap,
    memory: &[File],
) -> Result<(), Result<&'static str, io::Error>> {
    let layers = &memory[..memory.len() - 1];
    let pages = layers
        .iter()
        .map(|file| Ok(file.metadata()?.len() / PAGE_BYTES))
        .collect::<io::Result<Vec<_>>>()
        .map_err(Err)?;
    for run in extents.runs() {
        if let Source::File { distance, page } = run.source {
            let file_pages = pages
                .get(usize::from(distance))
                .ok_or(Ok("its map names a missing layer"))?;
            if page
                .checked_add(run.count)
                .is_none_or(|end| end > *file_pages)
            {
                return Err(Ok("its map reaches beyond a layer"));
            }
        }
    }
    Ok(())
}
