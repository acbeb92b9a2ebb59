//! Brings in pages of guest memory in the background, so that the guest need not wait for the disk.
//!
//! `MADV_POPULATE_READ` maps the shared page of the snapshot's file without making it private. The
//! guest's own page tables still fault once for each page; `KVM_PRE_FAULT_MEMORY` would save that, but it
//! needs the vCPU for itself, and a vCPU that waits for prefetching is what this is to prevent.

use hearth_snapshot::PAGE_BYTES;
use hearth_wire::vmm::PageRange;

/// `MADV_POPULATE_READ` (Linux 5.14).
const MADV_POPULATE_READ: libc::c_int = 22;

/// Pages of one call: the process's memory map is locked for reading meanwhile.
const PAGES_AT_ONCE: u64 = 256;

/// Most ranges of a request that are followed.
const RANGES_MAX: usize = 1 << 16;

/// Starts to bring in `ranges` of the RAM at host address `base`. Nothing depends on its success.
pub fn start((base, bytes): (usize, u64), ranges: &[PageRange]) {
    let pages = bytes / PAGE_BYTES;
    let ranges: Vec<PageRange> = ranges
        .iter()
        .take(RANGES_MAX)
        .filter_map(|range| clipped(*range, pages))
        .collect();
    if ranges.is_empty() {
        return;
    }
    let body = move || ranges.iter().for_each(|range| populate(base, *range));
    // Without a thread the guest faults the pages in itself.
    let _ = std::thread::Builder::new()
        .name("prefetch".into())
        .stack_size(64 << 10)
        .spawn(body);
}

/// The part of `range` that lies in RAM.
fn clipped(range: PageRange, pages: u64) -> Option<PageRange> {
    let count = range.count.min(pages.checked_sub(range.first)?);
    (count > 0).then_some(PageRange {
        first: range.first,
        count,
    })
}

fn populate(base: usize, range: PageRange) {
    let mut first = range.first;
    let end = range.first + range.count;
    while first < end {
        let count = PAGES_AT_ONCE.min(end - first);
        let start = base + (first * PAGE_BYTES) as usize;
        // SAFETY: the range was clipped to RAM's mapping, which stays until the process ends; populating
        // for reading changes no content.
        unsafe {
            libc::madvise(
                start as *mut libc::c_void,
                (count * PAGE_BYTES) as usize,
                MADV_POPULATE_READ,
            )
        };
        first += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_clipped_to_ram() {
        let range = |first, count| PageRange { first, count };
        assert_eq!(clipped(range(0, 10), 10), Some(range(0, 10)));
        assert_eq!(clipped(range(8, u64::MAX), 10), Some(range(8, 2)));
        assert_eq!(clipped(range(10, 1), 10), None);
        assert_eq!(clipped(range(u64::MAX, u64::MAX), 10), None);
    }
}
