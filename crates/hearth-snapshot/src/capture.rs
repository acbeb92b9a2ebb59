//! Writes a snapshot: first the part during which the machine is paused, then the rest.
//!
//! ```text
//!  begin ── memory ── adopt ──┬── seal ───────────────────────────────────────────> sealed
//!           (machine paused)  │   (the machine may run again)                         ^
//!                             │   hash every chunk; write hashes, state;              │
//!                             │   fsync files; fsync directory; rename; fsync parent ─┘
//!                             └── drop: the unfinished directory is removed
//! ```
//!
//! A machine that runs again before the seal needs the seal to succeed, so its disk space is allocated before the
//! machine continues ([`Capture::make_room`]).
//!
//! Until the rename nothing exists under the final name, so a crash leaves either no snapshot or a whole one (and
//! perhaps an orphaned directory `<name>.partial`, which may be deleted).

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::body::{Body, FileRecord, HASHES_FILE, MEMORY_FILE, STATE_FILE, SnapshotId};
use crate::chunks;
use crate::extents::ExtentMap;
use crate::header::{HEADER_BYTES, Header, MAX_BODY_BYTES};
use crate::layer_runs::{self, LayerRuns, PageRun};
use crate::limits::{Limits, PAGE_BYTES};
use crate::open::Lineage;
use crate::ram::{Ram, RamError};

/// Largest single write, in pages: bounds what the page cache takes at once.
const WRITE_PAGES: u64 = 256;

/// Most bytes of an encoded extent: three numbers of at most ten bytes each, one of at most three, and a tag.
const EXTENT_BYTES: usize = 3 * 10 + 3 + 1;

/// Most bytes of an encoded file record: a size, and one of a few short names.
const FILE_RECORD_BYTES: usize = 64;

/// Most bytes of the rest of an encoded body: the digest and the lengths of its lists.
const BODY_REST_BYTES: usize = 128;

/// Which pages of memory a snapshot holds, and so which snapshot it is based on.
///
/// ```text
/// chain before      full <- layer 1 <- layer 2        a machine runs on layer 2, has changed pages since
/// Layer             full <- layer 1 <- layer 2 <- new
/// Merged            full <- new                       what both layers hold, and the changed pages
/// Full              new
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryKind {
    /// All pages of memory.
    Full,
    /// The pages that changed since the snapshot that memory was mapped from, which becomes the parent.
    Layer,
    /// The pages that changed since the full snapshot at the bottom of the chain: all layers folded into one. The pages
    /// are written from memory, so no layer is read, and the pages of the full snapshot stay shared.
    Merged,
}

/// Why a snapshot was not written. Nothing of it is left on disk.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The final directory exists already.
    #[error("{0} exists already; a sealed snapshot is never written again")]
    Exists(PathBuf),
    /// A layer was asked for, but the memory has no parent.
    #[error("this machine has no sealed parent; take a full snapshot")]
    NoParent,
    /// The chain has the largest allowed number of layers.
    #[error("the snapshot chain already has {0} layers; take a merged or a full snapshot")]
    ChainTooLong(usize),
    /// The merged map would have more runs than the format allows.
    #[error("the memory map would have more than {0} runs; take a merged or a full snapshot")]
    Fragmented(usize),
    /// The state file would be larger than the format allows.
    #[error("the state of the machine has {0} bytes; at most {MAX_BODY_BYTES} are possible")]
    StateTooLarge(u64),
    /// A file operation failed.
    #[error("cannot {step} ({path})")]
    Io {
        /// The step that failed.
        step: &'static str,
        /// The file or directory of that step.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The body could not be encoded.
    #[error("the state of the machine does not encode")]
    Encode(#[source] postcard::Error),
}

/// A snapshot that is being written.
#[derive(Debug)]
pub struct Capture {
    target: PathBuf,
    partial: PathBuf,
    memory: File,
    ram_bytes: u64,
    ancestors: Vec<SnapshotId>,
    extents: ExtentMap,
    disks: Vec<(String, File)>,
    is_sealed: bool,
}

/// A snapshot that is complete and durable.
#[derive(Debug)]
pub struct Sealed {
    /// Identity of the snapshot.
    pub id: SnapshotId,
    /// Bytes of memory pages that were written.
    pub memory_bytes: u64,
    /// Bytes of the state file.
    pub state_bytes: u64,
    /// The lineage of memory that is mapped from the snapshot.
    pub lineage: Lineage,
}

impl Capture {
    /// Creates the unfinished directory `<directory>.partial`. A directory that an earlier crash left under that name
    /// is removed.
    pub fn begin(directory: &Path) -> Result<Self, CaptureError> {
        if directory.symlink_metadata().is_ok() {
            return Err(CaptureError::Exists(directory.to_owned()));
        }
        let mut name = directory.as_os_str().to_owned();
        name.push(".partial");
        let partial = PathBuf::from(name);
        match fs::remove_dir_all(&partial) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("remove what a crash left", &partial)(error));
            }
            _ => {}
        }
        DirBuilder::new()
            .mode(0o700)
            .create(&partial)
            .map_err(failed("make the directory", &partial))?;
        let memory = create(&partial.join(MEMORY_FILE)).inspect_err(|_| {
            // Nothing refers to the empty directory yet; the error that is reported is the first one.
            let _ = fs::remove_dir_all(&partial);
        })?;
        Ok(Self {
            target: directory.to_owned(),
            partial,
            memory,
            ram_bytes: 0,
            ancestors: Vec::new(),
            extents: ExtentMap::default(),
            disks: Vec::new(),
            is_sealed: false,
        })
    }

    /// Writes the pages of `ram`. The vCPUs must be paused and the devices quiesced. After an error the memory is
    /// unchanged, and a capture of another kind can be begun.
    pub fn memory(&mut self, ram: &Ram, kind: MemoryKind) -> Result<(), CaptureError> {
        self.memory_within(ram, kind, &Limits::CAPTURE)
    }

    /// Same as [`Self::memory`], with limits other than [`Limits::CAPTURE`].
    pub fn memory_within(
        &mut self,
        ram: &Ram,
        kind: MemoryKind,
        limits: &Limits,
    ) -> Result<(), CaptureError> {
        self.ram_bytes = ram.bytes();
        let path = self.partial.join(MEMORY_FILE);
        let (ancestors, changed, below) = match kind {
            MemoryKind::Full => {
                return write_full(&self.memory, ram).map_err(failed("write memory", &path));
            }
            MemoryKind::Layer => {
                let parent = ram.lineage().ok_or(CaptureError::NoParent)?;
                let ancestors = std::iter::once(parent.id).chain(parent.ancestors.clone());
                (ancestors.collect(), ram.private_pages(), &parent.extents)
            }
            MemoryKind::Merged => {
                let parent = ram.lineage().ok_or(CaptureError::NoParent)?;
                let full = parent.ancestors.last().unwrap_or(&parent.id);
                (vec![*full], ram.pages_above_full(), &ExtentMap::default())
            }
        };
        if ancestors.len() > limits.layers {
            return Err(CaptureError::ChainTooLong(limits.layers));
        }
        let changed = changed.map_err(failed("find the changed pages for", &path))?;
        let runs = layer_runs::find(ram, changed);
        let layer =
            LayerRuns::fit(runs, below, limits).ok_or(CaptureError::Fragmented(limits.runs))?;
        write_layer(&self.memory, ram, &layer.runs).map_err(failed("write a layer", &path))?;
        (self.ancestors, self.extents) = (ancestors, layer.merged);
        Ok(())
    }

    /// Adds a drained and flushed disk to the snapshot, as a hard link named `name`.
    pub fn adopt(&mut self, name: &str, disk: &Path) -> Result<(), CaptureError> {
        let link = self.partial.join(name);
        fs::hard_link(disk, &link).map_err(failed("link a disk into the snapshot", disk))?;
        let file = File::open(&link).map_err(failed("open a disk", &link))?;
        self.disks.push((name.to_owned(), file));
        Ok(())
    }

    /// Maps the pages of `ram` that this capture holds from its memory file. The next layer of the machine then holds
    /// only pages that are written from now on, and its clones share the captured pages.
    ///
    /// The machine must stay paused between [`Self::memory`] and this call. Until [`Ram::confirm`] is called after the
    /// seal, memory has no parent and only a full snapshot can be made of it. The content of memory is correct either
    /// way, because the mapping keeps the file alive.
    pub fn rebase(&self, ram: &mut Ram) -> Result<(), RamError> {
        let is_full = self.ancestors.is_empty();
        ram.rebase(&self.memory, &self.extents, is_full)
    }

    /// Allocates the disk space that [`Self::seal`] needs for a machine state of `machine_bytes`, so that sealing does
    /// not depend on free space after the machine has continued. Must be called after memory and disks were added.
    pub fn make_room(&self, machine_bytes: usize) -> Result<(), CaptureError> {
        let mut chunks = 0;
        let memory = std::iter::once((MEMORY_FILE, &self.memory));
        let disks = self.disks.iter().map(|(name, file)| (name.as_str(), file));
        for (name, file) in memory.chain(disks) {
            let metadata = file.metadata();
            let metadata = metadata.map_err(failed("measure", &self.partial.join(name)))?;
            chunks += metadata.len().div_ceil(chunks::CHUNK_BYTES);
        }
        let state_bytes = HEADER_BYTES
            + machine_bytes
            + self.ancestors.len() * size_of::<SnapshotId>()
            + self.extents.runs().len() * EXTENT_BYTES
            + (1 + self.disks.len()) * FILE_RECORD_BYTES
            + BODY_REST_BYTES;
        check_state_bytes((state_bytes - HEADER_BYTES) as u64)?;
        allocate(&self.partial.join(STATE_FILE), state_bytes as u64)?;
        allocate(
            &self.partial.join(HASHES_FILE),
            chunks * chunks::RECORD_BYTES as u64,
        )
    }

    /// Completes the snapshot with the encoded `machine` state and makes it durable. The machine may run meanwhile.
    pub fn seal(mut self, machine: Vec<u8>) -> Result<Sealed, CaptureError> {
        let (files, hashes) = self.hash_files()?;
        let hashes_path = self.partial.join(HASHES_FILE);
        let hashes = chunks::encode(&hashes);
        write_sealed(&hashes_path, &[&hashes])?;

        let body = Body {
            ancestors: self.ancestors.clone(),
            extents: self.extents.runs().to_vec(),
            files,
            hashes_digest: *blake3::hash(&hashes).as_bytes(),
            machine,
        };
        let body = postcard::to_stdvec(&body).map_err(CaptureError::Encode)?;
        check_state_bytes(body.len() as u64)?;
        let header = self.header(&body)?.encode();
        write_sealed(&self.partial.join(STATE_FILE), &[&header, &body])?;

        self.make_durable()?;
        let id = SnapshotId::of_header(&header);
        Ok(Sealed {
            id,
            memory_bytes: allocated(&self.memory).unwrap_or(0),
            state_bytes: (header.len() + body.len()) as u64,
            lineage: Lineage {
                id,
                ancestors: std::mem::take(&mut self.ancestors),
                extents: std::mem::take(&mut self.extents),
            },
        })
    }

    fn hash_files(&self) -> Result<(Vec<FileRecord>, Vec<chunks::ChunkHash>), CaptureError> {
        let memory = (MEMORY_FILE, &self.memory);
        let disks = self.disks.iter().map(|(name, file)| (name.as_str(), file));
        let (mut files, mut hashes) = (Vec::new(), Vec::new());
        for (index, (name, file)) in std::iter::once(memory).chain(disks).enumerate() {
            let path = self.partial.join(name);
            let bytes = file.metadata().map_err(failed("measure", &path))?.len();
            hashes.extend(chunks::hash_file(file, index as u32).map_err(failed("hash", &path))?);
            files.push(FileRecord {
                name: name.to_owned(),
                bytes,
            });
        }
        Ok((files, hashes))
    }

    fn header(&self, body: &[u8]) -> Result<Header, CaptureError> {
        let path = self.partial.join(MEMORY_FILE);
        Ok(Header {
            parent: self.ancestors.first().copied(),
            body_bytes: body.len() as u64,
            ram_bytes: self.ram_bytes,
            memory_bytes: self
                .memory
                .metadata()
                .map_err(failed("measure", &path))?
                .len(),
            body_hash: *blake3::hash(body).as_bytes(),
        })
    }

    /// Makes the snapshot durable: fsyncs every file and the directory, renames it, fsyncs the directory above.
    fn make_durable(&mut self) -> Result<(), CaptureError> {
        let files = std::iter::once((MEMORY_FILE, &self.memory))
            .chain(self.disks.iter().map(|(name, file)| (name.as_str(), file)));
        for (name, file) in files {
            let path = self.partial.join(name);
            file.sync_all().map_err(failed("make durable", &path))?;
            file.set_permissions(Permissions::from_mode(0o444))
                .map_err(failed("make read-only", &path))?;
        }
        sync_directory(&self.partial)?;
        fs::rename(&self.partial, &self.target)
            .map_err(failed("move the snapshot into place", &self.target))?;
        self.is_sealed = true;
        let parent = self
            .target
            .parent()
            .filter(|path| !path.as_os_str().is_empty());
        sync_directory(parent.unwrap_or(Path::new(".")))
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        if !self.is_sealed {
            // There is nobody to tell; what stays is swept as a partial directory.
            let _ = fs::remove_dir_all(&self.partial);
        }
    }
}

/// Writes every page that is not zero at its own offset. The rest stay holes.
fn write_full(memory: &File, ram: &Ram) -> io::Result<()> {
    memory.set_len(ram.bytes())?;
    for range in ram.touched_pages()? {
        for run in layer_runs::zero_runs(ram, range, 1) {
            if !run.is_zero {
                let at = run.pages.start;
                write_run(memory, ram, run.pages, at)?;
            }
        }
    }
    Ok(())
}

/// Writes the data runs one after the other.
fn write_layer(memory: &File, ram: &Ram, runs: &[PageRun]) -> io::Result<()> {
    let mut next_page = 0;
    for run in runs.iter().filter(|run| !run.is_zero) {
        write_run(memory, ram, run.pages.clone(), next_page)?;
        next_page += run.pages.end - run.pages.start;
    }
    Ok(())
}

fn write_run(memory: &File, ram: &Ram, run: Range<u64>, to_page: u64) -> io::Result<()> {
    let mut from = run.start;
    while from < run.end {
        let to = run.end.min(from + WRITE_PAGES);
        // SAFETY: `Capture::memory` is called with the machine paused and its devices quiesced.
        let bytes = unsafe { ram.pages(from..to) };
        memory.write_all_at(bytes, (to_page + from - run.start) * PAGE_BYTES)?;
        from = to;
    }
    Ok(())
}

/// Refuses a state file that is larger than the format allows.
fn check_state_bytes(bytes: u64) -> Result<(), CaptureError> {
    if bytes > MAX_BODY_BYTES {
        return Err(CaptureError::StateTooLarge(bytes));
    }
    Ok(())
}

fn create(path: &Path) -> Result<File, CaptureError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(failed("create", path))
}

/// Creates a file and allocates `bytes` on disk for it. On a file system without `fallocate`, the file is empty.
fn allocate(path: &Path, bytes: u64) -> Result<(), CaptureError> {
    let file = create(path)?;
    let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
    // SAFETY: takes no memory of this process.
    if unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, bytes) } == 0 {
        return Ok(());
    }
    match io::Error::last_os_error() {
        error if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(()),
        error => Err(failed("make room for", path)(error)),
    }
}

/// Writes a file, into the space that [`allocate`] has reserved for it, if any.
fn write_sealed(path: &Path, parts: &[&[u8]]) -> Result<(), CaptureError> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(failed("create", path))?;
    for part in parts {
        file.write_all(part).map_err(failed("write", path))?;
    }
    let bytes = parts.iter().map(|part| part.len() as u64).sum();
    file.set_len(bytes).map_err(failed("cut", path))?;
    file.set_permissions(Permissions::from_mode(0o444))
        .map_err(failed("make read-only", path))?;
    file.sync_all().map_err(failed("make durable", path))
}

fn sync_directory(path: &Path) -> Result<(), CaptureError> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(failed("make the directory durable", path))
}

/// Bytes that a sparse file occupies.
fn allocated(file: &File) -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    Ok(file.metadata()?.blocks() * 512)
}

fn failed(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CaptureError {
    let path = path.to_owned();
    move |source| CaptureError::Io { step, path, source }
}
