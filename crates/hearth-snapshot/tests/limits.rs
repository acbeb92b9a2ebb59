//! What a capture accepts, opening accepts; and a refusal leaves a way on.

#![allow(clippy::unwrap_used)]

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use hearth_snapshot::{
    Capture, CaptureError, Limits, MemoryKind, OpenError, OpenOptions, OpenSnapshot, PAGE_BYTES,
    Ram, Sealed, SnapshotId, verify, verify_chain,
};
use proptest::prelude::*;

use support::{flip, open, read, take, write};

mod support;

const RAM_BYTES: u64 = 2 << 20;
const RAM_PAGES: u64 = RAM_BYTES / PAGE_BYTES;

/// A place for snapshots under their ids, as a node has one.
struct Shelf(tempfile::TempDir);

impl Shelf {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn place(&self, id: SnapshotId) -> PathBuf {
        self.0.path().join(id.to_string())
    }

    fn begin(&self) -> Capture {
        Capture::begin(&self.0.path().join("new")).unwrap()
    }

    fn seal(&self, capture: Capture) -> Sealed {
        // As a guest's clock does, so that no two snapshots are the same.
        static MOMENT: AtomicU64 = AtomicU64::new(0);
        let machine = MOMENT.fetch_add(1, Ordering::Relaxed).to_le_bytes();
        let sealed = capture.seal(machine.to_vec()).unwrap();
        fs::rename(self.0.path().join("new"), self.place(sealed.id)).unwrap();
        sealed
    }

    fn open(&self, sealed: &Sealed, limits: Limits) -> Result<OpenSnapshot, OpenError> {
        self.open_with(sealed, &[], limits)
    }

    /// As [`Self::open`], with the whole chain known to be verified.
    fn open_verified(&self, sealed: &Sealed, limits: Limits) -> Result<OpenSnapshot, OpenError> {
        let mut verified = sealed.lineage.ancestors.clone();
        verified.push(sealed.id);
        self.open_with(sealed, &verified, limits)
    }

    fn open_with(
        &self,
        sealed: &Sealed,
        verified: &[SnapshotId],
        limits: Limits,
    ) -> Result<OpenSnapshot, OpenError> {
        let ancestors = sealed.lineage.ancestors.iter().map(|id| self.place(*id));
        let ancestors: Vec<PathBuf> = ancestors.collect();
        let options = OpenOptions { verified, limits };
        OpenSnapshot::open_with(&self.place(sealed.id), &ancestors, &options)
    }

    /// Captures as `wanted`, and where that is refused as what is left, as a node does.
    fn capture(&self, ram: &Ram, wanted: MemoryKind, limits: &Limits) -> (Capture, MemoryKind) {
        for kind in [wanted, MemoryKind::Merged, MemoryKind::Full] {
            let mut capture = self.begin();
            match capture.memory_within(ram, kind, limits) {
                Ok(()) => return (capture, kind),
                Err(
                    CaptureError::NoParent
                    | CaptureError::Fragmented(_)
                    | CaptureError::ChainTooLong(_),
                ) => assert_ne!(kind, MemoryKind::Full),
                Err(error) => panic!("{kind:?}: {error}"),
            }
        }
        unreachable!("a full snapshot is never refused")
    }
}

#[derive(Debug, Clone)]
struct Step {
    /// First page, pages, value.
    writes: Vec<(u64, u64, u8)>,
    kind: MemoryKind,
    goes_on: bool,
    is_sealed: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let kind = prop_oneof![
        6 => Just(MemoryKind::Layer),
        2 => Just(MemoryKind::Merged),
        1 => Just(MemoryKind::Full),
    ];
    let write = (0..RAM_PAGES, prop_oneof![1..3_u64, 1..40_u64], 0..4_u8);
    (
        proptest::collection::vec(write, 0..12),
        kind,
        any::<bool>(),
        proptest::bool::weighted(0.9),
    )
        .prop_map(|(writes, kind, goes_on, is_sealed)| Step {
            writes,
            kind,
            goes_on,
            is_sealed,
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    /// Over any history of writes, layers, merges and full snapshots, of machines that go on and of such that end, and with
    /// captures that are lost: what is accepted opens within the same limits, and holds the same memory.
    #[test]
    fn what_a_capture_accepts_opens(
        steps in proptest::collection::vec(step(), 1..14),
        layers in 1..4_usize,
        runs in 1..14_usize,
        mapped_runs in 1..14_usize,
    ) {
        let limits = Limits { layers, runs, mapped_runs };
        let shelf = Shelf::new();
        let mut ram = Ram::anonymous(RAM_BYTES).unwrap();
        let reference = Ram::anonymous(RAM_BYTES).unwrap();
        for step in &steps {
            for (page, count, value) in &step.writes {
                let bytes = vec![*value; (count.min(&(RAM_PAGES - page)) * PAGE_BYTES) as usize];
                write(&ram, page * PAGE_BYTES, &bytes);
                write(&reference, page * PAGE_BYTES, &bytes);
            }
            let (capture, kind) = shelf.capture(&ram, step.kind, &limits);
            if step.goes_on {
                capture.rebase(&mut ram).unwrap();
            }
            if step.is_sealed {
                let sealed = shelf.seal(capture);
                let is_merged = kind == MemoryKind::Merged;
                prop_assert!(!is_merged || sealed.lineage.ancestors.len() == 1);
                let opened = shelf.open(&sealed, limits).unwrap();
                let restored = Ram::restored(&opened).unwrap();
                prop_assert!(read(&restored) == read(&reference), "{:?}", kind);
                prop_assert!(verify_chain(&shelf.place(sealed.id), |id| shelf.place(id)).is_empty());
                if step.goes_on {
                    ram.confirm(sealed.lineage.clone());
                } else {
                    ram = restored;
                }
            }
            prop_assert!(read(&ram) == read(&reference), "{:?} afterwards", kind);
        }
    }
}

/// Memory of a clone of an empty full snapshot, with pages that lie too far apart to be joined.
fn scattered(shelf: &Shelf) -> Ram {
    let mut full = shelf.begin();
    let ram = Ram::anonymous(RAM_BYTES).unwrap();
    full.memory(&ram, MemoryKind::Full).unwrap();
    let full = shelf.seal(full);
    let ram = Ram::restored(&shelf.open(&full, Limits::FORMAT).unwrap()).unwrap();
    for page in (0..RAM_PAGES).step_by(100) {
        write(&ram, page * PAGE_BYTES, b"x");
    }
    ram
}

#[test]
fn the_map_of_the_whole_chain_is_bounded_and_not_only_that_of_its_newest_layer() {
    let shelf = Shelf::new();
    let limits = Limits {
        layers: 9,
        runs: 6,
        mapped_runs: 6,
    };
    let ram = Ram::anonymous(RAM_BYTES).unwrap();
    let (full, _) = shelf.capture(&ram, MemoryKind::Full, &limits);
    let ram = Ram::restored(&shelf.open(&shelf.seal(full), limits).unwrap()).unwrap();
    let far_apart = |ram: &Ram, from: u64| {
        (0..4).for_each(|at| write(ram, (from + 100 * at) * PAGE_BYTES, b"x"));
    };
    far_apart(&ram, 0);
    let (one, kind) = shelf.capture(&ram, MemoryKind::Layer, &limits);
    assert_eq!(kind, MemoryKind::Layer);
    let ram = Ram::restored(&shelf.open(&shelf.seal(one), limits).unwrap()).unwrap();
    far_apart(&ram, 50);
    let mut two = shelf.begin();
    let refused = two.memory_within(&ram, MemoryKind::Layer, &limits);
    assert!(matches!(refused, Err(CaptureError::Fragmented(6))));
    drop(two);
    // Four and four runs do not fit either way.
    let (_, kind) = shelf.capture(&ram, MemoryKind::Layer, &limits);
    assert_eq!(kind, MemoryKind::Full);
}

#[test]
fn a_chain_ends_at_its_limit_and_a_merge_makes_it_short() {
    let shelf = Shelf::new();
    let mut ram = Ram::anonymous(RAM_BYTES).unwrap();
    let mut kinds = Vec::new();
    for cycle in 0..40_u64 {
        write(&ram, cycle * PAGE_BYTES, &[1]);
        let (capture, kind) = shelf.capture(&ram, MemoryKind::Layer, &Limits::CAPTURE);
        let sealed = shelf.seal(capture);
        assert!(sealed.lineage.ancestors.len() <= 16);
        let snapshot = shelf.open(&sealed, Limits::CAPTURE).unwrap();
        ram = Ram::restored(&snapshot).unwrap();
        kinds.push(kind);
    }
    let at = |kind| {
        kinds
            .iter()
            .enumerate()
            .filter(move |(_, found)| **found == kind)
    };
    assert_eq!(
        at(MemoryKind::Full).map(|(at, _)| at).collect::<Vec<_>>(),
        [0]
    );
    let merges: Vec<_> = at(MemoryKind::Merged).map(|(at, _)| at).collect();
    assert_eq!(merges, [17, 33]);
    assert!((0..40).all(|page| read(&ram)[(page * PAGE_BYTES) as usize] == 1));
}

/// Earlier releases made chains of up to 32 layers.
#[test]
fn a_chain_of_an_earlier_release_still_opens_and_ends_with_the_next_snapshot() {
    let shelf = Shelf::new();
    let mut ram = Ram::anonymous(RAM_BYTES).unwrap();
    for cycle in 0..33_u64 {
        write(&ram, cycle * PAGE_BYTES, &[1]);
        let (capture, _) = shelf.capture(&ram, MemoryKind::Layer, &Limits::FORMAT);
        let sealed = shelf.seal(capture);
        assert_eq!(sealed.lineage.ancestors.len() as u64, cycle);
        ram = Ram::restored(&shelf.open(&sealed, Limits::FORMAT).unwrap()).unwrap();
    }
    let mut capture = shelf.begin();
    let refused = capture.memory(&ram, MemoryKind::Layer).unwrap_err();
    assert!(
        refused.to_string().contains("already has 16 layers"),
        "{refused}"
    );
    drop(capture);
    let before = read(&ram);
    let (capture, kind) = shelf.capture(&ram, MemoryKind::Layer, &Limits::CAPTURE);
    assert_eq!(kind, MemoryKind::Merged);
    let opened = shelf.open(&shelf.seal(capture), Limits::CAPTURE).unwrap();
    assert!(read(&Ram::restored(&opened).unwrap()) == before);
}

/// Snapshots that no resume opens, sealed by the limits of nobody: `verify` says what is wrong with them.
#[test]
fn verify_judges_the_map_and_the_chain() {
    let none = Limits {
        layers: usize::MAX,
        runs: usize::MAX,
        mapped_runs: usize::MAX,
    };
    let shelf = Shelf::new();
    // 65,537 runs need as many pages, and a gap behind each.
    let ram = Ram::anonymous(1 << 30).unwrap();
    let (full, _) = shelf.capture(&ram, MemoryKind::Full, &none);
    let ram = Ram::restored(&shelf.open(&shelf.seal(full), none).unwrap()).unwrap();
    for page in (0..2 * 65_537).step_by(2) {
        write(&ram, page * PAGE_BYTES, b"x");
    }
    let (fragmented, kind) = shelf.capture(&ram, MemoryKind::Layer, &none);
    assert_eq!(kind, MemoryKind::Layer);
    let sealed = shelf.seal(fragmented);
    assert!(shelf.open(&sealed, Limits::FORMAT).is_err());
    let problems = verify(&shelf.place(sealed.id));
    assert_eq!(problems.len(), 1);
    let message = problems[0].to_string();
    assert!(
        message.contains("more runs than the format allows"),
        "{message}"
    );
}

#[test]
fn verify_finds_a_chain_that_does_not_fit_together() {
    let shelf = Shelf::new();
    let ram = scattered(&shelf);
    let (one, _) = shelf.capture(&ram, MemoryKind::Layer, &Limits::CAPTURE);
    let one = shelf.seal(one);
    let ram = Ram::restored(&shelf.open(&one, Limits::FORMAT).unwrap()).unwrap();
    write(&ram, 0, b"y");
    let (two, _) = shelf.capture(&ram, MemoryKind::Layer, &Limits::CAPTURE);
    let two = shelf.seal(two);
    let place = |id| shelf.place(id);
    let found = |id| verify_chain(&shelf.place(id), place);
    assert!(found(two.id).is_empty());

    // The layer below is cut short: the map of the one above reaches beyond its file.
    let memory = shelf.place(one.id).join("memory");
    support::truncate(&memory, PAGE_BYTES);
    assert!(
        verify(&shelf.place(two.id)).is_empty(),
        "its own bytes are right"
    );
    assert!(found(two.id)[0].to_string().contains("has 4096 bytes"));
    fs::remove_dir_all(shelf.place(one.id)).unwrap();
    assert!(found(two.id)[0].to_string().contains("cannot read"));
    take(
        &shelf.place(one.id),
        &Ram::anonymous(RAM_BYTES).unwrap(),
        MemoryKind::Full,
    );
    assert!(found(two.id)[0].to_string().contains("the chain needs"));
}

/// A snapshot that is known to be verified is not read again; its identity and the sizes of its files are still checked.
#[test]
fn what_was_verified_is_not_read_again() {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name);
    let ram = Ram::anonymous(RAM_BYTES).unwrap();
    let full_id = take(&path("full"), &ram, MemoryKind::Full).id;
    let ram = Ram::restored(&open(&path("full"), &[]).unwrap()).unwrap();
    write(&ram, 0, b"one");
    let one_id = take(&path("one"), &ram, MemoryKind::Layer).id;
    let ram = Ram::restored(&open(&path("one"), &[&path("full")]).unwrap()).unwrap();
    write(&ram, 9 * PAGE_BYTES, b"two");
    let two_id = take(&path("two"), &ram, MemoryKind::Layer).id;

    let open_with = |verified: &[SnapshotId]| {
        let options = OpenOptions {
            verified,
            ..OpenOptions::default()
        };
        let ancestors = [path("one"), path("full")];
        OpenSnapshot::open_with(&path("two"), &ancestors, &options)
    };
    let all = [two_id, one_id, full_id];
    flip(&path("one").join("memory"), 5);
    assert!(matches!(
        open_with(&[two_id]),
        Err(OpenError::Memory { .. })
    ));
    assert!(open_with(&all).is_ok());
    flip(&path("two").join("memory"), 5);
    assert!(matches!(
        open_with(&all[1..]),
        Err(OpenError::Memory { .. })
    ));

    // Of an ancestor that was verified only the header is read, which its identity hangs on.
    flip(&path("one").join("state"), 140);
    assert!(open_with(&all).is_ok());
    assert!(matches!(open_with(&[two_id]), Err(OpenError::Body(_))));
    flip(&path("one").join("state"), 20);
    assert!(matches!(open_with(&all), Err(OpenError::Header { .. })));
    fs::remove_dir_all(path("one")).unwrap();
    take(
        &path("one"),
        &Ram::anonymous(RAM_BYTES).unwrap(),
        MemoryKind::Full,
    );
    assert!(matches!(
        open_with(&all),
        Err(OpenError::WrongParent { .. })
    ));
}

/// A guest of so many pages of RAM sleeps five times, each time with so many dirty ones, scattered by chance.
fn sleep_scattered(ram_pages: u64, dirty: usize, limits: &Limits) {
    let shelf = Shelf::new();
    let ram = Ram::anonymous(ram_pages * PAGE_BYTES).unwrap();
    write(&ram, 0, b"kernel");
    let (full, _) = shelf.capture(&ram, MemoryKind::Full, limits);
    let mut ram = Ram::restored(&shelf.open(&shelf.seal(full), *limits).unwrap()).unwrap();
    // What each page must say: the cycle that wrote it last.
    let mut expected = vec![0_u8; ram_pages as usize];
    let mut random = 88_172_645_463_325_252_u64;
    for cycle in 1..=5_u8 {
        let mut pages = HashSet::new();
        while pages.len() < dirty {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            pages.insert(random % ram_pages);
        }
        for page in pages {
            write(&ram, page * PAGE_BYTES + 8, &[cycle]);
            expected[page as usize] = cycle;
        }
        let start = Instant::now();
        let (capture, kind) = shelf.capture(&ram, MemoryKind::Layer, limits);
        let captured = start.elapsed();
        let sealed = shelf.seal(capture);
        let start = Instant::now();
        drop(shelf.open(&sealed, *limits).unwrap());
        let verified = start.elapsed();
        let start = Instant::now();
        ram = Ram::restored(&shelf.open_verified(&sealed, *limits).unwrap()).unwrap();
        eprintln!(
            "cycle {cycle}: {kind:?}, {} runs, {} MiB; {captured:?} to write, {verified:?} to verify, {:?} to open and map, {} runs copied",
            sealed.lineage.extents.runs().len(),
            sealed.memory_bytes >> 20,
            start.elapsed(),
            ram.private_pages().unwrap().len(),
        );
        let memory = read(&ram);
        let says = |page: u64| memory[(page * PAGE_BYTES + 8) as usize];
        let wrong = (0..ram_pages).find(|page| says(*page) != expected[*page as usize]);
        assert_eq!(wrong, None, "cycle {cycle}");
    }
}

/// A tenth of what the next test does.
#[test]
fn a_guest_with_scattered_dirty_pages_sleeps_five_times() {
    let limits = Limits {
        layers: 16,
        runs: Limits::CAPTURE.runs / 10,
        mapped_runs: Limits::CAPTURE.mapped_runs / 10,
    };
    sleep_scattered(25_600, 10_000, &limits);
}

#[test]
#[ignore = "writes 5 GiB: cargo nextest run -p hearth-snapshot --run-ignored all --no-capture hundred_thousand"]
fn a_guest_with_a_hundred_thousand_scattered_dirty_pages_sleeps_five_times() {
    sleep_scattered((1 << 30) / PAGE_BYTES, 100_000, &Limits::CAPTURE);
}

/// Every other page of 1 GiB is dirty: twice as many runs as a map may have. The gaps are closed.
#[test]
#[ignore = "writes 1 GiB: cargo nextest run -p hearth-snapshot --run-ignored all --no-capture every_other"]
fn a_guest_with_every_other_page_dirty_sleeps() {
    let shelf = Shelf::new();
    let ram = Ram::anonymous(1 << 30).unwrap();
    let (full, _) = shelf.capture(&ram, MemoryKind::Full, &Limits::CAPTURE);
    let ram = Ram::restored(&shelf.open(&shelf.seal(full), Limits::FORMAT).unwrap()).unwrap();
    for page in (0..ram.bytes() / PAGE_BYTES).step_by(2) {
        write(&ram, page * PAGE_BYTES, b"dirty");
    }
    let (capture, kind) = shelf.capture(&ram, MemoryKind::Layer, &Limits::CAPTURE);
    assert_eq!(kind, MemoryKind::Layer);
    let sealed = shelf.seal(capture);
    assert!(sealed.lineage.extents.runs().len() <= Limits::CAPTURE.mapped_runs);
    let restored = Ram::restored(&shelf.open(&sealed, Limits::FORMAT).unwrap()).unwrap();
    assert!(
        restored.private_pages().unwrap().is_empty(),
        "all is mapped"
    );
    assert!(read(&restored) == read(&ram));
}
