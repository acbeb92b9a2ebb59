//! Guest RAM: one mapping of host memory, whose pages are shared with a snapshot until they are written.
//!
//! ```text
//! RAM offset   0                     3 GiB                       bytes
//! host         [ one mapping of `bytes` bytes ................... ]
//! guest        [ 0 .. 3 GiB )   hole 3-4 GiB (MMIO)   [ 4 GiB .. )
//! ```
//!
//! A fresh machine has anonymous memory. A restored one has a `MAP_PRIVATE` mapping of the full snapshot's memory file,
//! with the runs of its layers mapped over it. So a restore copies nothing, its cost does not grow with RAM, and all
//! clones share the pages that they do not write. Files of a snapshot are never truncated or written after they were
//! sealed, so access to such a mapping does not raise SIGBUS.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::ptr::{self, NonNull};

use vm_memory::mmap::{FromRangesError, MmapRegionBuilder, MmapRegionError};
use vm_memory::{GuestAddress, GuestMemoryMmap, GuestRegionMmap};

use crate::chunks;
use crate::extents::{Extent, ExtentMap, Source};
use crate::limits::{Limits, PAGE_BYTES};
use crate::open::{Lineage, OpenSnapshot};
use crate::pagemap;

/// Start of the hole for devices in the guest's physical address space.
pub const HOLE_START: u64 = 3 << 30;
/// End of the hole; RAM continues here.
pub const HOLE_END: u64 = 4 << 30;

/// Most runs that are mapped one by one. Further ones (the shortest) are copied. Captures close gaps to stay below it.
const MAX_MAPPED_RUNS: usize = Limits::FORMAT.mapped_runs;

/// Why guest RAM could not be created or mapped.
#[derive(Debug, thiserror::Error)]
pub enum RamError {
    /// The size is zero or not a whole number of MiB.
    #[error("RAM of {0} bytes is not a whole number of MiB")]
    Size(u64),
    /// `mmap` failed.
    #[error("cannot map {what}")]
    Map {
        /// What could not be mapped.
        what: &'static str,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A short run could not be read.
    #[error("cannot read the memory of a snapshot")]
    Read(#[source] io::Error),
    /// vm-memory refused the regions.
    #[error("cannot describe RAM to the machine: {0}")]
    Region(String),
}

/// Guest RAM.
///
/// The mapping stays until the process ends: a VMM process has one RAM, and `GuestMemoryMmap`s made from it
/// could otherwise outlive it.
#[derive(Debug)]
pub struct Ram {
    base: NonNull<u8>,
    bytes: u64,
    lineage: Option<Lineage>,
    /// The full snapshot's memory file, at the bottom of the mapping.
    full_memory: Option<File>,
    /// Pages that were mapped (or copied) from layers instead of that file. Kept up to date also while memory has no
    /// parent.
    layered: Vec<Range<u64>>,
}

// SAFETY: the pointer is to a mapping that is never unmapped; whoever dereferences it says why that is sound.
unsafe impl Send for Ram {}
// SAFETY: as above; `&Ram` gives out no references into the mapping.
unsafe impl Sync for Ram {}

impl Ram {
    /// Creates memory that is all zeros.
    pub fn anonymous(bytes: u64) -> Result<Self, RamError> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        let base = map(None, checked(bytes)?, flags, None).map_err(|source| RamError::Map {
            what: "anonymous memory",
            source,
        })?;
        Ok(Self {
            base,
            bytes,
            lineage: None,
            full_memory: None,
            layered: Vec::new(),
        })
    }

    /// Maps memory from `snapshot`. Pages are shared until they are written.
    pub fn restored(snapshot: &OpenSnapshot) -> Result<Self, RamError> {
        let bytes = snapshot.ram_bytes();
        let flags = libc::MAP_PRIVATE | libc::MAP_NORESERVE;
        let base = map(
            None,
            checked(bytes)?,
            flags,
            Some((snapshot.full_memory(), 0)),
        )
        .map_err(|source| RamError::Map {
            what: "the snapshot's memory",
            source,
        })?;
        let full_memory = snapshot.full_memory().try_clone().map_err(RamError::Read)?;
        let lineage = Some(snapshot.lineage().clone());
        let ram = Self {
            base,
            bytes,
            lineage,
            full_memory: Some(full_memory),
            layered: pages_of(&snapshot.lineage().extents),
        };
        let runs = snapshot.lineage().extents.runs();
        ram.lay(runs, Short::Copied, |distance| {
            snapshot.memory_file(distance)
        })?;
        Ok(ram)
    }

    /// The memory regions of the guest's physical address space.
    pub fn guest_memory(&self) -> Result<GuestMemoryMmap, RamError> {
        let low = self.bytes.min(HOLE_START);
        let mut regions = vec![self.region(0, low, 0)?];
        if self.bytes > low {
            regions.push(self.region(low, self.bytes - low, HOLE_END)?);
        }
        GuestMemoryMmap::from_regions(regions).map_err(
            |error: vm_memory::GuestRegionCollectionError| RamError::Region(error.to_string()),
        )
    }

    /// Size in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Address of the mapping in this process.
    pub fn host_base(&self) -> usize {
        self.base.as_ptr() as usize
    }

    /// The snapshot that unwritten pages come from; `None` for memory of a fresh boot.
    pub fn lineage(&self) -> Option<&Lineage> {
        self.lineage.as_ref()
    }

    /// Pages that this process has written since the memory was created (for fresh memory: that were ever touched).
    pub fn private_pages(&self) -> io::Result<Vec<Range<u64>>> {
        pagemap::private_pages(self.host_base(), self.bytes as usize)
    }

    /// Pages in this process's page table: pages that were read or written since the memory was created, or that the
    /// kernel mapped around those.
    pub fn mapped_pages(&self) -> io::Result<Vec<Range<u64>>> {
        pagemap::mapped_pages(self.host_base(), self.bytes as usize)
    }

    /// Every page that may differ from zero: the private ones and those that the snapshot's files hold.
    pub(crate) fn touched_pages(&self) -> io::Result<Vec<Range<u64>>> {
        let mut ranges = self.pages_above_full()?;
        if let Some(full) = &self.full_memory {
            let mut from = 0;
            while let Some((start, end)) = chunks::data_range(full, from, self.bytes)? {
                ranges.push(start / PAGE_BYTES..end.div_ceil(PAGE_BYTES));
                from = end;
            }
        }
        Ok(joined(ranges))
    }

    /// Every page that may differ from the full snapshot at the bottom of the chain: the private ones and those
    /// that its layers hold.
    pub(crate) fn pages_above_full(&self) -> io::Result<Vec<Range<u64>>> {
        let mut ranges = self.private_pages()?;
        ranges.extend_from_slice(&self.layered);
        Ok(joined(ranges))
    }

    /// Maps the pages that a capture has written to its file `memory` from that file, at the positions in `extents`. In
    /// a full capture's file each page lies at its own offset.
    ///
    /// Memory has no parent until [`Self::confirm`] is called.
    pub(crate) fn rebase(
        &mut self,
        memory: &File,
        extents: &ExtentMap,
        is_full: bool,
    ) -> Result<(), RamError> {
        self.lineage = None;
        self.layered = pages_of(extents);
        if is_full {
            let flags = libc::MAP_PRIVATE | libc::MAP_NORESERVE | libc::MAP_FIXED;
            map(
                Some(self.base),
                self.bytes as usize,
                flags,
                Some((memory, 0)),
            )
            .map_err(|source| RamError::Map {
                what: "the new snapshot's memory",
                source,
            })?;
            self.full_memory = Some(memory.try_clone().map_err(RamError::Read)?);
            return Ok(());
        }
        let own = extents
            .runs()
            .iter()
            .filter(|run| matches!(run.source, Source::Zero | Source::File { distance: 0, .. }));
        let own: Vec<Extent> = own.copied().collect();
        self.lay(&own, Short::Kept, |_| memory)
    }

    /// Makes `lineage` the parent of memory. Called once the snapshot that memory was rebased on is sealed.
    pub fn confirm(&mut self, lineage: Lineage) {
        self.lineage = Some(lineage);
    }

    /// The bytes of `pages`.
    ///
    /// # Safety
    ///
    /// Nobody writes these pages while the slice lives: the vCPUs are paused and the devices quiesced.
    pub(crate) unsafe fn pages(&self, pages: Range<u64>) -> &[u8] {
        debug_assert!(pages.end * PAGE_BYTES <= self.bytes);
        let start = self.host(pages.start);
        let length = ((pages.end - pages.start) * PAGE_BYTES) as usize;
        // SAFETY: the range lies inside the mapping, which is readable and never unmapped; the caller
        // promises that nobody writes it.
        unsafe { std::slice::from_raw_parts(start.as_ptr(), length) }
    }

    fn host(&self, page: u64) -> NonNull<u8> {
        debug_assert!(page * PAGE_BYTES <= self.bytes);
        // SAFETY: every caller's page lies inside RAM, so the sum stays inside the one mapping.
        unsafe { self.base.add((page * PAGE_BYTES) as usize) }
    }

    /// Lays runs of layers over the mapping: the longest by `mmap`, the rest as `short` says.
    fn lay<'a>(
        &self,
        runs: &[Extent],
        short: Short,
        file: impl Fn(u16) -> &'a File,
    ) -> Result<(), RamError> {
        let shortest_mapped = shortest_mapped(runs);
        for run in runs {
            if run.count < shortest_mapped {
                if short == Short::Copied {
                    self.copy_run(run, &file)?;
                }
                continue;
            }
            match run.source {
                Source::Zero => {
                    let flags = libc::MAP_PRIVATE
                        | libc::MAP_ANONYMOUS
                        | libc::MAP_NORESERVE
                        | libc::MAP_FIXED;
                    self.map_run(run, flags, None)?;
                }
                Source::File { distance, page } => {
                    let flags = libc::MAP_PRIVATE | libc::MAP_NORESERVE | libc::MAP_FIXED;
                    self.map_run(run, flags, Some((file(distance), page)))?;
                }
            }
        }
        Ok(())
    }

    fn map_run(
        &self,
        run: &Extent,
        flags: i32,
        file: Option<(&File, u64)>,
    ) -> Result<(), RamError> {
        let length = (run.count * PAGE_BYTES) as usize;
        let file = file.map(|(file, page)| (file, page * PAGE_BYTES));
        map(Some(self.host(run.first)), length, flags, file).map_err(|source| RamError::Map {
            what: "a layer",
            source,
        })?;
        Ok(())
    }

    fn copy_run<'a>(&self, run: &Extent, file: impl Fn(u16) -> &'a File) -> Result<(), RamError> {
        let length = (run.count * PAGE_BYTES) as usize;
        // SAFETY: the range lies inside the mapping, the machine does not run yet, and no other reference to guest
        // memory exists while this slice lives.
        let target =
            unsafe { std::slice::from_raw_parts_mut(self.host(run.first).as_ptr(), length) };
        match run.source {
            Source::Zero => target.fill(0),
            Source::File { distance, page } => file(distance)
                .read_exact_at(target, page * PAGE_BYTES)
                .map_err(RamError::Read)?,
        }
        Ok(())
    }

    fn region(&self, offset: u64, bytes: u64, at: u64) -> Result<GuestRegionMmap, RamError> {
        let builder = MmapRegionBuilder::new(bytes as usize)
            .with_mmap_prot(libc::PROT_READ | libc::PROT_WRITE)
            .with_mmap_flags(libc::MAP_PRIVATE | libc::MAP_NORESERVE);
        // SAFETY: the range lies inside the mapping, which stays until the process ends.
        let builder =
            unsafe { builder.with_raw_mmap_pointer(self.host(offset / PAGE_BYTES).as_ptr()) };
        let region = builder
            .build()
            .map_err(|error: MmapRegionError| RamError::Region(error.to_string()))?;
        GuestRegionMmap::new(region, GuestAddress(at))
            .ok_or_else(|| RamError::Region(FromRangesError::InvalidGuestRegion.to_string()))
    }
}

/// How runs beyond the limit of mappings are handled.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Short {
    /// The runs are copied into memory.
    Copied,
    /// Memory holds the content of the runs already and is not changed.
    Kept,
}

/// The pages that a map covers.
fn pages_of(map: &ExtentMap) -> Vec<Range<u64>> {
    let runs = map.runs().iter();
    joined(runs.map(|run| run.first..run.first + run.count).collect())
}

/// Smallest length of runs that are mapped, so that at most [`MAX_MAPPED_RUNS`] are.
fn shortest_mapped(runs: &[Extent]) -> u64 {
    if runs.len() <= MAX_MAPPED_RUNS {
        return 1;
    }
    let mut counts: Vec<u64> = runs.iter().map(|run| run.count).collect();
    counts.sort_unstable_by(|a, b| b.cmp(a));
    counts[MAX_MAPPED_RUNS] + 1
}

/// Sorts ranges and joins those that touch.
fn joined(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.sort_unstable_by_key(|range| range.start);
    let mut out: Vec<Range<u64>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match out.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => out.push(range),
        }
    }
    out
}

fn checked(bytes: u64) -> Result<usize, RamError> {
    if bytes == 0 || !bytes.is_multiple_of(1 << 20) {
        return Err(RamError::Size(bytes));
    }
    usize::try_from(bytes).map_err(|_| RamError::Size(bytes))
}

/// Calls `mmap`, readable and writable. With `at`, the mapping there is replaced; it must lie inside RAM's own mapping.
fn map(
    at: Option<NonNull<u8>>,
    length: usize,
    flags: i32,
    file: Option<(&File, u64)>,
) -> io::Result<NonNull<u8>> {
    let (fd, offset) = file.map_or((-1, 0), |(file, offset)| (file.as_raw_fd(), offset));
    let offset = i64::try_from(offset).map_err(io::Error::other)?;
    let address = at.map_or(ptr::null_mut(), |at| at.as_ptr().cast());
    // SAFETY: without `at` the kernel chooses a free place; with it, callers pass MAP_FIXED and a range
    // inside RAM's own mapping, which nothing refers to by reference at that time.
    let mapped = unsafe {
        libc::mmap(
            address,
            length,
            libc::PROT_READ | libc::PROT_WRITE,
            flags,
            fd,
            offset,
        )
    };
    if mapped == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(mapped.cast()).ok_or_else(|| io::Error::other("mmap answered null"))
}
