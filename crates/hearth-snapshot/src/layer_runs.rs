//! Decides which pages a layer holds, and divides them into runs.
//!
//! Each run of the merged map costs a mapping (or a copy) at every restore. So short runs of zeros are stored as data,
//! and if a map would have too many runs, the smallest gaps are closed: the unchanged pages between two changed ones
//! are written too.
//!
//! ```text
//! changed pages   [##]  [###]      [0000000000000000000]   [#]            [##]
//! runs            [data]--[data]   [zero              ]    [data]         [data]
//! gaps closed     [data        ]   [zero              ]    [data]         [data]
//! ```

use std::ops::Range;

use crate::extents::{Extent, ExtentMap, Source};
use crate::limits::Limits;
use crate::ram::Ram;

/// Runs of zero pages shorter than this are stored as data: each extent costs a mapping at restore.
const MIN_ZERO_RUN: u64 = 16;

/// A run of pages that are either all zero or all stored as data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PageRun {
    pub(crate) pages: Range<u64>,
    pub(crate) is_zero: bool,
}

impl PageRun {
    fn count(&self) -> u64 {
        self.pages.end - self.pages.start
    }
}

/// The runs of a layer, and the merged map that includes them.
#[derive(Debug)]
pub(crate) struct LayerRuns {
    pub(crate) runs: Vec<PageRun>,
    pub(crate) merged: ExtentMap,
}

impl LayerRuns {
    /// Lays `runs` over the map `below`. If the result would have more runs than a restore maps, the smallest gaps are
    /// closed: writing a page once costs less than copying it at each restore, after which the next layer holds it
    /// again. `None` if the map exceeds the limit even so.
    pub(crate) fn fit(runs: Vec<PageRun>, below: &ExtentMap, limits: &Limits) -> Option<Self> {
        let mut layer = Self::over(runs, below);
        let wanted = limits.mapped_runs.min(limits.runs);
        // Each gap that is closed takes at least one run from the map.
        let surplus = layer.merged.runs().len().saturating_sub(wanted);
        if surplus > 0 {
            layer = Self::over(close_gaps(&layer.runs, surplus), below);
        }
        (layer.merged.runs().len() <= limits.runs).then_some(layer)
    }

    fn over(runs: Vec<PageRun>, below: &ExtentMap) -> Self {
        let merged = below.overlaid(&packed(&runs));
        Self { runs, merged }
    }
}

/// Cuts `ranges` of RAM into runs of zero pages and runs of others.
pub(crate) fn find(ram: &Ram, ranges: Vec<Range<u64>>) -> Vec<PageRun> {
    ranges
        .into_iter()
        .flat_map(|range| zero_runs(ram, range, MIN_ZERO_RUN))
        .collect()
}

/// Cuts a range into runs of zero pages (of at least `min_zero_run`) and runs of others.
pub(crate) fn zero_runs(ram: &Ram, range: Range<u64>, min_zero_run: u64) -> Vec<PageRun> {
    let mut runs: Vec<PageRun> = Vec::new();
    for page in range {
        let is_zero = is_zero_page(ram, page);
        match runs.last_mut() {
            Some(run) if run.is_zero == is_zero => run.pages.end = page + 1,
            _ => runs.push(PageRun {
                pages: page..page + 1,
                is_zero,
            }),
        }
    }
    join_short_zero_runs(runs, min_zero_run)
}

fn join_short_zero_runs(runs: Vec<PageRun>, min_zero_run: u64) -> Vec<PageRun> {
    let mut joined: Vec<PageRun> = Vec::with_capacity(runs.len());
    for run in runs {
        let is_zero = run.is_zero && run.count() >= min_zero_run;
        match joined.last_mut() {
            Some(last) if last.is_zero == is_zero => last.pages.end = run.pages.end,
            _ => joined.push(PageRun { is_zero, ..run }),
        }
    }
    joined
}

fn is_zero_page(ram: &Ram, page: u64) -> bool {
    // SAFETY: `Capture::memory` is called with the machine paused and its devices quiesced.
    let bytes = unsafe { ram.pages(page..page + 1) };
    let (words, _) = bytes.as_chunks::<8>();
    words.iter().all(|word| u64::from_ne_bytes(*word) == 0)
}

/// The map of the runs in a packed file, which holds the data runs one after the other.
fn packed(runs: &[PageRun]) -> ExtentMap {
    let mut next_page = 0;
    let extents = runs.iter().map(|run| {
        let source = if run.is_zero {
            Source::Zero
        } else {
            let page = next_page;
            next_page += run.count();
            Source::File { distance: 0, page }
        };
        Extent {
            first: run.pages.start,
            count: run.count(),
            source,
        }
    });
    ExtentMap::of_ascending(extents)
}

/// Closes up to `wanted` gaps between data runs, the smallest first, including the zero runs inside them. Closed gaps
/// have at most as many pages as the data, so a layer at most doubles.
fn close_gaps(runs: &[PageRun], wanted: usize) -> Vec<PageRun> {
    let data: Vec<&PageRun> = runs.iter().filter(|run| !run.is_zero).collect();
    let between = |pair: &[&PageRun]| pair[0].pages.end..pair[1].pages.start;
    let mut gaps: Vec<Range<u64>> = data.windows(2).map(between).collect();
    gaps.sort_unstable_by_key(|gap| (gap.end - gap.start, gap.start));
    let mut room: u64 = data.iter().map(|run| run.count()).sum();
    let affordable = gaps.iter().take(wanted).take_while(|gap| {
        let rest = room.checked_sub(gap.end - gap.start);
        room = rest.unwrap_or(0);
        rest.is_some()
    });
    let count = affordable.count();
    gaps.truncate(count);
    gaps.sort_unstable_by_key(|gap| gap.start);
    fill(runs, &gaps)
}

/// Turns the pages of `gaps` (ascending, each between two data runs) into data.
fn fill(runs: &[PageRun], gaps: &[Range<u64>]) -> Vec<PageRun> {
    let mut gaps = gaps.iter().peekable();
    let mut filled: Vec<PageRun> = Vec::with_capacity(runs.len());
    for run in runs {
        let in_gap = gaps
            .peek()
            .is_some_and(|gap| gap.start <= run.pages.start && run.pages.end <= gap.end);
        if in_gap {
            continue;
        }
        let behind_gap = gaps.next_if(|gap| gap.end == run.pages.start).is_some();
        match filled.last_mut() {
            Some(last) if behind_gap => last.pages.end = run.pages.end,
            _ => filled.push(run.clone()),
        }
    }
    filled
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn data_pages(runs: &[PageRun]) -> u64 {
        let data = runs.iter().filter(|run| !run.is_zero);
        data.map(PageRun::count).sum()
    }

    fn data(pages: Range<u64>) -> PageRun {
        PageRun {
            pages,
            is_zero: false,
        }
    }

    fn zero(pages: Range<u64>) -> PageRun {
        PageRun {
            pages,
            is_zero: true,
        }
    }

    #[test]
    fn the_smallest_gaps_are_closed_with_the_zeros_inside() {
        let runs = [
            data(0..4),
            data(5..9),
            zero(9..12),
            data(12..20),
            data(30..40),
            zero(50..90),
        ];
        let closed = close_gaps(&runs, 1);
        assert_eq!(closed[0], data(0..9));
        assert_eq!(closed.len(), 5);
        let closed = close_gaps(&runs, 2);
        assert_eq!(closed, [data(0..20), data(30..40), zero(50..90)]);
        let all = [data(0..40), zero(50..90)];
        assert_eq!(close_gaps(&runs, 3), all);
        assert_eq!(close_gaps(&runs, 4), all, "there are only three");
    }

    #[test]
    fn gaps_that_outweigh_the_data_are_not_closed() {
        let (near, far) = ([data(0..1), data(3..4)], [data(0..1), data(4..5)]);
        assert_eq!(close_gaps(&near, 1), [data(0..4)]);
        assert_eq!(close_gaps(&far, 1), far);
    }

    #[test]
    fn a_map_that_fits_is_left_alone_and_one_that_cannot_is_refused() {
        let limits = Limits {
            layers: 1,
            runs: 4,
            mapped_runs: 2,
        };
        let near = |count: u64| (0..count).map(|at| data(2 * at..2 * at + 1)).collect();
        let far = |count: u64| (0..count).map(|at| data(9 * at..9 * at + 1)).collect();
        let fit = |runs| LayerRuns::fit(runs, &ExtentMap::default(), &limits);
        assert_eq!(fit(near(2)).unwrap().runs.len(), 2);
        assert_eq!(fit(near(40)).unwrap().runs.len(), 2);
        assert_eq!(fit(far(4)).unwrap().runs.len(), 4, "too far apart to join");
        assert!(fit(far(40)).is_none());
    }

    proptest! {
        /// What closes gaps keeps every page, keeps the limit and stays a sorted list.
        #[test]
        fn a_fitted_map_covers_what_changed(
            parts in proptest::collection::vec((0..6_u64, 1..6_u64, any::<bool>()), 0..60),
            old in proptest::collection::vec((0..9_u64, 1..6_u64, any::<bool>()), 0..30),
            max in 1..20_usize,
            mapped in 1..20_usize,
        ) {
            let build = |parts: &[(u64, u64, bool)]| {
                let (mut at, mut runs) = (0, Vec::<PageRun>::new());
                for (gap, count, is_zero) in parts {
                    let first = at + gap;
                    // As `find` gives them: two runs that touch are of different kinds.
                    let is_zero = match runs.last() {
                        Some(last) if *gap == 0 => !last.is_zero,
                        _ => *is_zero,
                    };
                    at = first + count;
                    runs.push(PageRun { pages: first..at, is_zero });
                }
                runs
            };
            let (runs, below) = (build(&parts), packed(&build(&old)));
            let limits = Limits { layers: 1, runs: max, mapped_runs: mapped };
            let plain = below.overlaid(&packed(&runs));
            let Some(fitted) = LayerRuns::fit(runs.clone(), &below, &limits) else {
                prop_assert!(plain.runs().len() > max);
                return Ok(());
            };
            prop_assert!(fitted.merged.runs().len() <= max);
            prop_assert!(ExtentMap::from_sorted(fitted.merged.runs().to_vec(), 1 << 20, 1 << 20).is_some());
            prop_assert!(data_pages(&fitted.runs) <= 2 * data_pages(&runs));
            for run in &runs {
                let holder = fitted.runs.iter().find(|found| {
                    found.pages.start <= run.pages.start && run.pages.end <= found.pages.end
                });
                prop_assert!(holder.is_some_and(|found| run.is_zero || !found.is_zero));
            }
        }
    }
}
