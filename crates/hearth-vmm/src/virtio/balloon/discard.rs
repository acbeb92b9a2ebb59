//! Giving guest pages back to the host, and what they hold afterwards.
//!
//! `MADV_DONTNEED` on a private mapping drops the page's private copy. What the guest reads there next:
//! - anonymous RAM (a fresh boot): zeroes;
//! - RAM mapped from a sealed snapshot (a clone): the snapshot's bytes, old contents of the
//!   *same guest*, from its own past. No other tenant's data can appear.
//!
//! The invariant that suspend relies on holds in both cases: a page without a private copy
//! equals its parent snapshot, and for this guest any contents of a page that it gave away are right
//! (VIRTIO 1.3 sections 5.5.6.1 and 5.5.6.7: it must not rely on them; Linux does not offer free pages at all when
//! it wants them zeroed or poisoned, since PAGE_POISON is not offered here).

use std::io;

use vm_memory::{GuestAddress, GuestMemory, Permissions, VolatileSlice};

use super::super::ram::GuestRam;

pub(super) const PAGE: u64 = 4096;

/// Drops whole pages inside `slice`. Partial pages at its ends are kept.
pub(super) fn discard_slice(slice: &VolatileSlice<'_>) -> io::Result<()> {
    let start = slice.ptr_guard_mut().as_ptr();
    let end = start as u64 + slice.len() as u64;
    let first = (start as u64).next_multiple_of(PAGE);
    let last = end - end % PAGE;
    if first >= last {
        return Ok(());
    }
    let skip = (first - start as u64) as usize;
    // SAFETY: the range is inside the slice, which is mapped guest memory. Guest memory is only
    // reached by volatile and kernel accesses, for which contents may change at any time.
    let result = unsafe {
        libc::madvise(
            start.wrapping_add(skip).cast(),
            (last - first) as usize,
            libc::MADV_DONTNEED,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Drops `count` pages from guest page number `first`; false if they are not all guest memory.
pub(super) fn discard_pages(ram: &GuestRam, first: u64, count: u64) -> bool {
    let (address, len) = (GuestAddress(first * PAGE), count * PAGE);
    if !ram.check_range(address, len as usize, Permissions::Write) {
        return false;
    }
    let Ok(slices) = ram.get_slices(address, len as usize, Permissions::Write) else {
        return false;
    };
    for slice in slices.flatten() {
        // A page that cannot be given back (locked, for instance) stays: that costs memory only.
        let _ = discard_slice(&slice);
    }
    true
}

/// Runs of consecutive page numbers, so that a run costs one system call. Sorts `pages`.
pub(super) fn runs(pages: &mut [u32]) -> impl Iterator<Item = (u64, u64)> {
    pages.sort_unstable();
    pages.chunk_by(|a, b| b.wrapping_sub(*a) <= 1).map(|run| {
        (
            u64::from(run[0]),
            u64::from(run[run.len() - 1] - run[0]) + 1,
        )
    })
}
