//! Caches without builders: files come, go and are overtaken.

use std::fs::FileTimes;

use super::*;
use crate::bases::Bases;
use crate::config::ContainerConfig;
use crate::reuse::Digest;
use crate::root::{Root, RootDisk};
use crate::store::Layers;

const LIMIT: u64 = 1 << 20;

struct Fixture {
    directory: tempfile::TempDir,
    caches: Arc<LayerCaches>,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let caches = Arc::new(LayerCaches::new(directory.path().join("caches"), LIMIT));
        Self { directory, caches }
    }

    fn lease(&self) -> Lease {
        self.caches.lease("111122223333", "bases-a").unwrap()
    }

    /// A build that added `kib` to what it found.
    fn build(&self, lease: Lease, kib: usize) -> Kept {
        let pending = lease.pending("builder-1");
        fs::write(&pending, vec![1; kib << 10]).unwrap();
        let kept = lease.keep(&pending).unwrap();
        assert!(!pending.exists());
        kept
    }
}

#[test]
fn a_build_finds_the_layers_of_the_one_before_and_no_other_accounts() {
    let fixture = Fixture::new();
    let first = fixture.lease();
    assert!(!first.has_layers());
    assert_eq!(fixture.build(first, 4), Kept::Added);
    assert_eq!(fixture.build(fixture.lease(), 8), Kept::Added);
    let third = fixture.lease().overlays();
    let names: Vec<String> = third.iter().map(|path| name(path)).collect();
    assert_eq!(names, ["2.qcow2", "1.qcow2"], "nearest first");
    let stranger = fixture.caches.lease("444455556666", "bases-a").unwrap();
    assert!(!stranger.has_layers());
    let usage = fixture.caches.usage().unwrap();
    assert_eq!(usage[0], ("111122223333".to_owned(), 12 << 10));
}

#[test]
fn of_two_builds_at_once_the_first_that_ends_counts() {
    let fixture = Fixture::new();
    let (one, two) = (fixture.lease(), fixture.lease());
    assert_eq!(fixture.build(two, 4), Kept::Added);
    assert_eq!(fixture.build(one, 4), Kept::Overtaken);
    assert_eq!(fixture.lease().overlays().len(), 1);
}

#[test]
fn what_a_killed_build_left_is_removed_and_changes_nothing() {
    let fixture = Fixture::new();
    fixture.build(fixture.lease(), 4);
    let killed = fixture.lease();
    let pending = killed.pending("builder-2");
    fs::write(&pending, "half").unwrap();
    // While it may still be alive, nothing is taken from it.
    fixture.lease();
    assert!(pending.exists());
    drop(killed);
    assert_eq!(fixture.lease().overlays().len(), 1);
    assert!(!pending.exists());
}

#[test]
fn a_cache_has_bounds() {
    let fixture = Fixture::new();
    fixture.build(fixture.lease(), 600);
    let too_large = fixture.build(fixture.lease(), 600);
    assert!(matches!(too_large, Kept::TooLarge { bytes } if bytes > LIMIT));
    assert!(!fixture.lease().has_layers(), "it starts anew");

    for _ in 0..MAX_OVERLAYS {
        assert_eq!(fixture.build(fixture.lease(), 4), Kept::Added);
    }
    assert!(!fixture.lease().has_layers(), "too many pieces");

    fixture.build(fixture.lease(), 4);
    let first = fixture.lease().overlays().remove(0);
    let long_ago = SystemTime::now() - MAX_AGE - Duration::from_secs(60);
    let file = File::options().write(true).open(first).unwrap();
    file.set_times(FileTimes::new().set_modified(long_ago))
        .unwrap();
    assert!(!fixture.lease().has_layers(), "too old");

    let smaller = Arc::new(LayerCaches::new(
        fixture.directory.path().join("caches"),
        4096,
    ));
    fixture.build(fixture.lease(), 8);
    let lease = smaller.lease("111122223333", "bases-a").unwrap();
    assert!(!lease.has_layers(), "the limit is another one now");
    let none = Arc::new(LayerCaches::new(fixture.directory.path().join("caches"), 0));
    assert!(none.lease("111122223333", "bases-a").is_none());
}

#[test]
fn layers_of_other_bases_and_suspicious_ones_go() {
    let fixture = Fixture::new();
    fixture.build(fixture.lease(), 4);
    let refreshed = fixture.caches.lease("111122223333", "bases-b").unwrap();
    assert!(!refreshed.has_layers());
    drop(refreshed);
    assert!(!fixture.lease().has_layers());

    fixture.build(fixture.lease(), 4);
    let (one, two) = (fixture.lease(), fixture.lease());
    assert!(one.discard().is_none());
    assert!(
        two.overlays()[0].exists(),
        "another build is about to open it"
    );
    let empty = two.discard().unwrap();
    assert_eq!(fixture.build(empty, 4), Kept::Added);
    assert!(fixture.lease().has_layers());
}

fn bases(place: &Path) -> Bases {
    let word = "bases-a".to_owned();
    Bases::new(
        place.to_owned(),
        word.clone(),
        word,
        Vec::new(),
        Layers::default(),
    )
}

fn digest(name: &str) -> Digest {
    Digest(blake3::hash(name.as_bytes()))
}

/// A root whose layer disk, at `layer`, takes `kib`.
fn root(layer: &Path, kib: usize) -> Root {
    fs::write(layer, vec![1; kib << 10]).unwrap();
    let disks = [("store", Path::new("/elsewhere")), ("layer", layer)];
    Root {
        disks: disks
            .map(|(serial, image)| RootDisk {
                serial: serial.to_owned(),
                image: image.to_owned(),
            })
            .into(),
        lower: Vec::new(),
        config: ContainerConfig::parse(b"{}").unwrap(),
    }
}

#[test]
fn a_result_is_found_by_its_account_as_long_as_it_is_young() {
    let fixture = Fixture::new();
    let place = fixture.directory.path();
    let bases = bases(place);
    let one = digest("one");
    let lease = fixture.lease();
    assert_eq!(lease.find(&one, &bases, &place.join("none")), None);
    lease
        .remember(&one, &root(&place.join("first"), 4))
        .unwrap();
    fs::remove_file(place.join("first")).unwrap();

    let found = lease.find(&one, &bases, &place.join("second")).unwrap();
    let images: Vec<&Path> = found
        .disks
        .iter()
        .map(|disk| disk.image.as_path())
        .collect();
    assert_eq!(images, [bases.store(), place.join("second")]);
    assert_eq!(fs::read(place.join("second")).unwrap().len(), 4 << 10);
    let find = |lease: &Lease, of: &Digest| lease.find(of, &bases, &place.join("third"));
    let stranger = fixture.caches.lease("444455556666", "bases-a").unwrap();
    assert_eq!(find(&stranger, &one), None);
    assert_eq!(find(&lease, &digest("two")), None);

    let record = lease.place.join(format!("{one}.json"));
    let long_ago = SystemTime::now() - MAX_AGE - Duration::from_secs(60);
    let file = File::options().write(true).open(&record).unwrap();
    file.set_times(FileTimes::new().set_modified(long_ago))
        .unwrap();
    assert_eq!(find(&lease, &one), None, "too old");
    fs::write(&record, "{\"disks\":").unwrap();
    assert_eq!(find(&lease, &one), None, "half a record");
}

#[test]
fn results_give_way_to_layers_and_to_newer_ones() {
    let fixture = Fixture::new();
    let place = fixture.directory.path();
    let bases = bases(place);
    let remember = |name: &str, kib| {
        let root = root(&place.join(name), kib);
        fixture.lease().remember(&digest(name), &root).unwrap();
    };
    let has = |name: &str| {
        let layer = place.join("found");
        let _ = fs::remove_file(&layer);
        fixture
            .lease()
            .find(&digest(name), &bases, &layer)
            .is_some()
    };
    for name in ["a", "b", "c"] {
        remember(name, 400);
    }
    assert_eq!(
        ["a", "b", "c"].map(has),
        [false, true, true],
        "the oldest goes"
    );
    assert_eq!(fixture.build(fixture.lease(), 500), Kept::Added);
    assert_eq!(["b", "c"].map(has), [false, true]);
    remember("d", 700);
    assert!(!has("d"), "there is no room beside the layers");
    assert!(fixture.lease().has_layers());
    assert_eq!(fixture.build(fixture.lease(), 500), Kept::Added);
    assert!(!has("c"));
}
