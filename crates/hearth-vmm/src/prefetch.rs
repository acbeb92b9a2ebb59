//! Prefetches pages of guest memory in the background, so that the guest need not wait for the disk.
//!
//! `MADV_POPULATE_READ` maps the shared page of the snapshot's file without making it private. The
//! guest still faults once for each page; `KVM_PRE_FAULT_MEMORY` would save that fault, but it occupies the vCPU, and
//! a vCPU that waits for prefetching is what this module is to prevent.

use std::ops::Range;

use hearth_snapshot::PAGE_BYTES;
use hearth_wire::vmm::{PageRange, TOUCHED_RANGES_MAX};

/// `MADV_POPULATE_READ` (Linux 5.14).
const MADV_POPULATE_READ: libc::c_int = 22;

/// Pages of one call. The kernel locks the process's memory map for reading meanwhile.
const PAGES_AT_ONCE: u64 = 256;

/// Most ranges of a request that are prefetched; the rest is ignored.
const RANGES_MAX: usize = 1 << 16;

/// Starts a thread that prefetches `ranges` of the RAM of `bytes` bytes at host address `base`. Best effort.
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

/// Converts runs of pages, ascending and disjoint, to a list for [`start`]. If there are too many runs, those with the
/// smallest gaps between them are joined.
pub fn list(runs: &[Range<u64>]) -> Vec<PageRange> {
    let surplus = runs.len().saturating_sub(TOUCHED_RANGES_MAX);
    let mut gaps: Vec<u64> = runs
        .windows(2)
        .map(|pair| pair[1].start - pair[0].end)
        .collect();
    gaps.sort_unstable();
    // Of several gaps of this size all are closed: fewer ranges are no harm.
    let closed = surplus.checked_sub(1).map_or(0, |last| gaps[last]);
    let mut list: Vec<PageRange> = Vec::new();
    for run in runs {
        match list.last_mut() {
            Some(last) if run.start - (last.first + last.count) <= closed => {
                last.count = run.end - last.first;
            }
            _ => list.push(PageRange {
                first: run.start,
                count: run.end - run.start,
            }),
        }
    }
    list
}

/// Clips `range` to RAM; `None` if nothing of it lies there.
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
    fn a_list_is_short_and_leaves_nothing_out() {
        let range = |first, count| PageRange { first, count };
        assert_eq!(list(&[]), []);
        assert_eq!(list(&[0..2, 4..5]), [range(0, 2), range(4, 1)]);
        // Gaps of two pages, and every hundredth of fifty.
        let mut start = 0;
        let runs: Vec<Range<u64>> = (0..TOUCHED_RANGES_MAX as u64 * 2)
            .map(|index| {
                start += if index % 100 == 0 { 50 } else { 2 };
                start += 1;
                start - 1..start
            })
            .collect();
        let list = list(&runs);
        assert_eq!(list.len(), runs.len().div_ceil(100), "the wide gaps stay");
        let has = |page: u64| {
            let covers =
                |range: &PageRange| (range.first..range.first + range.count).contains(&page);
            list.iter().any(covers)
        };
        assert!(runs.iter().all(|run| has(run.start)));
        assert!(!has(runs[100].start - 1));
    }

    #[test]
    fn ranges_are_clipped_to_ram() {
        let range = |first, count| PageRange { first, count };
        assert_eq!(clipped(range(0, 10), 10), Some(range(0, 10)));
        assert_eq!(clipped(range(8, u64::MAX), 10), Some(range(8, 2)));
        assert_eq!(clipped(range(10, 1), 10), None);
        assert_eq!(clipped(range(u64::MAX, u64::MAX), 10), None);
    }
}
