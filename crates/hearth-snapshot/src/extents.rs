//! The merged map: which file of a chain holds which guest page.
//!
//! A map is a sorted list of runs that do not overlap. Pages that no run covers come from the full snapshot
//! at the bottom of the chain, at their own offset. Adding a layer lays its runs over the parent's map:
//!
//! ```text
//! parent    [----- layer 1 -----]        [-- zero --]
//! new               [= this =]      [= this =]
//! merged    [- l2 -][= this =][- l2 -]   [= this =][z]     (what was "layer 1" is now one further away)
//! ```

use serde::{Deserialize, Serialize};

/// Where the pages of a run are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// Not stored: the pages are zero.
    Zero,
    /// In the packed memory file of a layer.
    File {
        /// How far up the chain: 0 is the snapshot that carries the map, 1 its parent, and so on.
        distance: u16,
        /// Page of the file at which the run starts.
        page: u64,
    },
}

/// A run of consecutive guest pages that are stored together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extent {
    /// First page, counted from the start of RAM.
    pub first: u64,
    /// Number of pages, at least one.
    pub count: u64,
    /// Where the pages are stored.
    pub source: Source,
}

impl Extent {
    fn end(&self) -> u64 {
        self.first + self.count
    }

    /// The part of the run inside `[from, to)`.
    fn clip(&self, from: u64, to: u64) -> Option<Self> {
        let first = self.first.max(from);
        let end = self.end().min(to);
        if first >= end {
            return None;
        }
        let source = match self.source {
            Source::Zero => Source::Zero,
            Source::File { distance, page } => Source::File {
                distance,
                page: page + (first - self.first),
            },
        };
        Some(Self {
            first,
            count: end - first,
            source,
        })
    }

    /// Whether `next` continues this run, in RAM and in its file.
    fn joins(&self, next: &Self) -> bool {
        self.end() == next.first
            && match (self.source, next.source) {
                (Source::Zero, Source::Zero) => true,
                (
                    Source::File {
                        distance: a,
                        page: from,
                    },
                    Source::File {
                        distance: b,
                        page: to,
                    },
                ) => a == b && from + self.count == to,
                _ => false,
            }
    }
}

/// A checked, sorted list of extents.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ExtentMap(Vec<Extent>);

impl ExtentMap {
    /// Builds a map from runs in ascending order; joins adjacent runs. `None` if runs overlap, are out of order or
    /// empty, reach beyond `ram_pages`, or are more than `max_runs`.
    pub fn from_sorted(runs: Vec<Extent>, ram_pages: u64, max_runs: usize) -> Option<Self> {
        let mut map = Self(Vec::with_capacity(runs.len()));
        let mut end = 0;
        for run in runs {
            let run_end = run.first.checked_add(run.count)?;
            if run.count == 0 || run.first < end || run_end > ram_pages {
                return None;
            }
            end = run_end;
            map.push(run);
        }
        (map.0.len() <= max_runs).then_some(map)
    }

    /// Builds a map from runs that the caller knows to be ascending and disjoint; joins adjacent runs.
    pub(crate) fn of_ascending(runs: impl Iterator<Item = Extent>) -> Self {
        let mut map = Self::default();
        runs.for_each(|run| map.push(run));
        map
    }

    /// The runs, ascending.
    pub fn runs(&self) -> &[Extent] {
        &self.0
    }

    /// The map that results when `layer` (whose files have distance 0) is laid over this map. Distances in this map
    /// grow by one.
    pub fn overlaid(&self, layer: &Self) -> Self {
        let mut merged = Self(Vec::with_capacity(self.0.len() + 2 * layer.0.len()));
        let mut old = self.0.iter().map(farther).peekable();
        let mut done = 0;
        for run in &layer.0 {
            merged.copy_between(&mut old, done, run.first);
            merged.push(*run);
            done = run.end();
        }
        merged.copy_between(&mut old, done, u64::MAX);
        merged
    }

    /// Appends the parts of `old` that lie in `[from, to)`. A run that reaches beyond `to` is kept for the next call.
    fn copy_between(
        &mut self,
        old: &mut std::iter::Peekable<impl Iterator<Item = Extent>>,
        from: u64,
        to: u64,
    ) {
        while let Some(run) = old.peek() {
            if run.first >= to {
                return;
            }
            if let Some(part) = run.clip(from, to) {
                self.push(part);
            }
            if run.end() > to {
                return;
            }
            old.next();
        }
    }

    fn push(&mut self, run: Extent) {
        match self.0.last_mut() {
            Some(last) if last.joins(&run) => last.count += run.count,
            _ => self.0.push(run),
        }
    }
}

fn farther(run: &Extent) -> Extent {
    let source = match run.source {
        Source::Zero => Source::Zero,
        Source::File { distance, page } => Source::File {
            distance: distance + 1,
            page,
        },
    };
    Extent { source, ..*run }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RAM_PAGES: u64 = 64;
    const MAX_RUNS: usize = 64;

    /// One entry a page: the slow, obvious form of a map.
    fn flat(map: &ExtentMap) -> Vec<Option<Source>> {
        let mut pages = vec![None; RAM_PAGES as usize];
        for run in map.runs() {
            for index in 0..run.count {
                pages[(run.first + index) as usize] = Some(match run.source {
                    Source::Zero => Source::Zero,
                    Source::File { distance, page } => Source::File {
                        distance,
                        page: page + index,
                    },
                });
            }
        }
        pages
    }

    fn arbitrary_map() -> impl Strategy<Value = ExtentMap> {
        proptest::collection::vec((0..6_u64, 1..8_u64, any::<bool>()), 0..10).prop_map(|parts| {
            let (mut at, mut page, mut runs) = (0, 0, Vec::new());
            for (gap, count, is_zero) in parts {
                let first = at + gap;
                if first + count > RAM_PAGES {
                    break;
                }
                let source = if is_zero {
                    Source::Zero
                } else {
                    Source::File { distance: 0, page }
                };
                runs.push(Extent {
                    first,
                    count,
                    source,
                });
                at = first + count;
                page += count;
            }
            ExtentMap::from_sorted(runs, RAM_PAGES, MAX_RUNS).unwrap()
        })
    }

    proptest! {
        #[test]
        fn overlaying_agrees_with_page_by_page(layers in proptest::collection::vec(arbitrary_map(), 1..6)) {
            let mut map = ExtentMap::default();
            let mut expected: Vec<Option<Source>> = vec![None; RAM_PAGES as usize];
            for layer in &layers {
                map = map.overlaid(layer);
                for (page, new) in expected.iter_mut().zip(flat(layer)) {
                    *page = new.or_else(|| page.map(|source| match source {
                        Source::Zero => Source::Zero,
                        Source::File { distance, page } => Source::File { distance: distance + 1, page },
                    }));
                }
                prop_assert_eq!(flat(&map), expected.clone());
                prop_assert!(ExtentMap::from_sorted(map.runs().to_vec(), RAM_PAGES, MAX_RUNS).is_some());
            }
        }
    }

    #[test]
    fn maps_that_overlap_or_leave_ram_are_refused() {
        let run = |first, count| Extent {
            first,
            count,
            source: Source::Zero,
        };
        let map = |runs, max_runs| ExtentMap::from_sorted(runs, 8, max_runs);
        assert!(map(vec![run(0, 4), run(3, 1)], 8).is_none());
        assert!(map(vec![run(4, 4), run(0, 1)], 8).is_none());
        assert!(map(vec![run(4, 5)], 8).is_none());
        assert!(map(vec![run(4, 0)], 8).is_none());
        assert!(map(vec![run(u64::MAX, 2)], 8).is_none());
        let three = vec![run(0, 1), run(2, 1), run(4, 1)];
        assert!(map(three.clone(), 2).is_none(), "too many");
        assert!(map(three, 3).is_some());
    }
}
