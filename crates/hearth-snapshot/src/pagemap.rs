//! Finds the pages of a private mapping that the process has written, and those that are mapped at all.
//!
//! Guest RAM is a private mapping of a snapshot's files (or anonymous, after a fresh boot). A page that was
//! written became an anonymous copy; one that was only read still is a page of the file. The kernel tells
//! them apart: `PAGEMAP_SCAN` (Linux 6.7) finds anonymous pages range by range; older kernels give one word
//! a page in `/proc/self/pagemap` (Documentation/admin-guide/mm/pagemap.rst: bit 63 present, 62 swapped,
//! 61 file-backed or shared).

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;

use crate::limits::PAGE_BYTES;

const PATH: &str = "/proc/self/pagemap";

/// Most runs that one ioctl returns.
const REGIONS: usize = 512;

const PAGE_IS_FILE: u64 = 1 << 2;
const PAGE_IS_PRESENT: u64 = 1 << 3;
const PAGE_IS_SWAPPED: u64 = 1 << 4;
const PAGE_IS_PFNZERO: u64 = 1 << 5;

/// `struct page_region` of linux/fs.h.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct PageRegion {
    start: u64,
    end: u64,
    categories: u64,
}

/// `struct pm_scan_arg` of linux/fs.h.
#[repr(C)]
#[derive(Default)]
struct ScanArgument {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

/// `_IOWR('f', 16, struct pm_scan_arg)`.
const PAGEMAP_SCAN: libc::c_ulong =
    (3 << 30) | ((size_of::<ScanArgument>() as libc::c_ulong) << 16) | (0x66 << 8) | 16;

const _: () = assert!(size_of::<ScanArgument>() == 96 && size_of::<PageRegion>() == 24);

/// `/proc/self/pagemap`, opened before the sandbox closed the way to it.
static PAGEMAP: OnceLock<File> = OnceLock::new();

/// Opens `/proc/self/pagemap` for later captures, for a process that is about to lose its access to `/proc`.
///
/// # Errors
///
/// The file cannot be opened.
pub fn open_pagemap_ahead() -> io::Result<()> {
    let pagemap = File::open(PATH)?;
    // Of two, either will do.
    let _ = PAGEMAP.set(pagemap);
    Ok(())
}

/// The pages that a scan looks for.
#[derive(Debug, Clone, Copy)]
enum Wanted {
    /// Private pages: not of a file, not the zero page, and present or swapped.
    Private,
    /// Pages in the process's page table, of any kind.
    Mapped,
}

/// Finds the private pages in `[start, start + bytes)` of this process's address space. Answers runs of page numbers
/// relative to `start`, ascending and disjoint.
pub(crate) fn private_pages(start: usize, bytes: usize) -> io::Result<Vec<Range<u64>>> {
    find(Wanted::Private, start, bytes)
}

/// Same as [`private_pages`], for the pages that are in the process's page table.
pub(crate) fn mapped_pages(start: usize, bytes: usize) -> io::Result<Vec<Range<u64>>> {
    find(Wanted::Mapped, start, bytes)
}

fn find(wanted: Wanted, start: usize, bytes: usize) -> io::Result<Vec<Range<u64>>> {
    let opened;
    let pagemap = match PAGEMAP.get() {
        Some(pagemap) => pagemap,
        None => {
            opened = File::open(PATH)?;
            &opened
        }
    };
    match scan(pagemap, wanted, start as u64, bytes as u64) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOTTY | libc::EINVAL)) => {
            read_words(pagemap, wanted, start as u64, bytes as u64)
        }
        other => other,
    }
}

impl Wanted {
    /// The PAGEMAP_SCAN categories that a page must not have, and those of which it must have at least one.
    fn categories(self) -> (u64, u64) {
        match self {
            Self::Private => (
                PAGE_IS_FILE | PAGE_IS_PFNZERO,
                PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
            ),
            Self::Mapped => (0, PAGE_IS_PRESENT),
        }
    }

    /// Whether a word of `/proc/self/pagemap` describes a wanted page. The zero page cannot be told apart there, only
    /// by its content.
    fn is_met_by(self, word: u64) -> bool {
        let (is_present, is_swapped, is_file) = (
            word >> 63 & 1 == 1,
            word >> 62 & 1 == 1,
            word >> 61 & 1 == 1,
        );
        match self {
            Self::Private => (is_present || is_swapped) && !is_file,
            Self::Mapped => is_present,
        }
    }
}

fn scan(pagemap: &File, wanted: Wanted, start: u64, bytes: u64) -> io::Result<Vec<Range<u64>>> {
    let (unwanted, any_of) = wanted.categories();
    let end = start + bytes;
    let mut runs = Vec::new();
    let mut regions = vec![PageRegion::default(); REGIONS];
    let mut from = start;
    while from < end {
        let mut argument = ScanArgument {
            size: size_of::<ScanArgument>() as u64,
            start: from,
            end,
            vec: regions.as_mut_ptr() as u64,
            vec_len: REGIONS as u64,
            category_inverted: unwanted,
            category_mask: unwanted,
            category_anyof_mask: any_of,
            return_mask: any_of,
            ..ScanArgument::default()
        };
        // SAFETY: the argument and the vector it names live across the call, `vec_len` is the vector's
        // length, and the kernel writes nothing else.
        let found = unsafe { libc::ioctl(pagemap.as_raw_fd(), PAGEMAP_SCAN, &raw mut argument) };
        let found = usize::try_from(found).map_err(|_| io::Error::last_os_error())?;
        for region in &regions[..found] {
            push(
                &mut runs,
                page(region.start - start)..page(region.end - start),
            );
        }
        if argument.walk_end <= from {
            return Err(io::Error::other("PAGEMAP_SCAN made no progress"));
        }
        from = argument.walk_end;
    }
    Ok(runs)
}

fn read_words(
    pagemap: &File,
    wanted: Wanted,
    start: u64,
    bytes: u64,
) -> io::Result<Vec<Range<u64>>> {
    const WORDS: usize = 8192;
    let pages = page(bytes);
    let mut runs = Vec::new();
    let mut buffer = vec![0; WORDS * 8];
    let mut from = 0;
    while from < pages {
        let count = (pages - from).min(WORDS as u64);
        let piece = &mut buffer[..count as usize * 8];
        pagemap.read_exact_at(piece, (page(start) + from) * 8)?;
        let (words, _) = piece.as_chunks::<8>();
        for (index, word) in words.iter().enumerate() {
            if wanted.is_met_by(u64::from_le_bytes(*word)) {
                let number = from + index as u64;
                push(&mut runs, number..number + 1);
            }
        }
        from += count;
    }
    Ok(runs)
}

fn push(runs: &mut Vec<Range<u64>>, run: Range<u64>) {
    match runs.last_mut() {
        Some(last) if last.end == run.start => last.end = run.end,
        _ => runs.push(run),
    }
}

fn page(bytes: u64) -> u64 {
    bytes / PAGE_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ram::Ram;
    use vm_memory::{Bytes, GuestAddress};

    #[test]
    fn both_ways_find_exactly_the_written_pages() {
        let ram = Ram::anonymous(1 << 20).unwrap();
        let memory = ram.guest_memory().unwrap();
        for page in [0, 1, 7, 255] {
            memory
                .write_slice(&[1], GuestAddress(page * PAGE_BYTES))
                .unwrap();
        }
        let expected = vec![0..2, 7..8, 255..256];
        assert_eq!(private_pages(ram.host_base(), 1 << 20).unwrap(), expected);
        let pagemap = File::open("/proc/self/pagemap").unwrap();
        assert_eq!(
            read_words(&pagemap, Wanted::Private, ram.host_base() as u64, 1 << 20).unwrap(),
            expected
        );
    }

    #[test]
    fn pages_that_were_only_read_are_mapped_and_not_private() {
        let ram = Ram::anonymous(1 << 20).unwrap();
        let memory = ram.guest_memory().unwrap();
        memory.write_slice(&[1], GuestAddress(0)).unwrap();
        let mut byte = [0];
        memory
            .read_slice(&mut byte, GuestAddress(9 * PAGE_BYTES))
            .unwrap();
        let private = private_pages(ram.host_base(), 1 << 20).unwrap();
        assert_eq!(private, std::iter::once(0..1).collect::<Vec<_>>());
        let expected = vec![0..1, 9..10];
        assert_eq!(mapped_pages(ram.host_base(), 1 << 20).unwrap(), expected);
        let pagemap = File::open("/proc/self/pagemap").unwrap();
        let words = read_words(&pagemap, Wanted::Mapped, ram.host_base() as u64, 1 << 20);
        assert_eq!(words.unwrap(), expected);
    }
}
