//! Caches without builders: files come, go and are overtaken.

use std::fs::FileTimes;

use super::*;

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
