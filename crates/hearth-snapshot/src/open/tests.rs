use std::fs;

use super::*;
use crate::capture::{Capture, MemoryKind};
use crate::ram::Ram;

#[test]
fn the_fuzz_corpus_passes() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/snapshot_state");
    let mut count = 0;
    for entry in fs::read_dir(corpus).unwrap() {
        fuzz_state(&fs::read(entry.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count > 0, "the corpus is empty");
}

/// A layer without pages, whose state names these ancestors, as no capture writes it.
fn forge(directory: &Path, ancestors: &[SnapshotId], ram_bytes: u64) {
    fs::create_dir(directory).unwrap();
    fs::write(directory.join(MEMORY_FILE), []).unwrap();
    fs::write(directory.join(HASHES_FILE), []).unwrap();
    let body = Body {
        ancestors: ancestors.to_vec(),
        extents: Vec::new(),
        files: Vec::new(),
        hashes_digest: *blake3::hash(&[]).as_bytes(),
        machine: Vec::new(),
    };
    let body = postcard::to_stdvec(&body).unwrap();
    let header = Header {
        parent: ancestors.first().copied(),
        body_bytes: body.len() as u64,
        ram_bytes,
        memory_bytes: 0,
        body_hash: *blake3::hash(&body).as_bytes(),
    };
    let state = [&header.encode()[..], &body].concat();
    fs::write(directory.join(STATE_FILE), state).unwrap();
}

/// RAM is mapped over the whole last file of a chain: one that is a layer, or of less RAM, would be mapped beyond its end.
#[test]
fn a_chain_that_does_not_end_with_a_full_snapshot_of_its_size_is_refused() {
    const RAM_BYTES: u64 = 1 << 20;
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name);
    let mut capture = Capture::begin(&path("full")).unwrap();
    let ram = Ram::anonymous(RAM_BYTES).unwrap();
    capture.memory(&ram, MemoryKind::Full).unwrap();
    let full = capture.seal(Vec::new()).unwrap().id;
    forge(&path("layer"), &[full], RAM_BYTES);
    let layer = describe(&path("layer")).unwrap().id;
    let open = |name: &str, ancestors: &[PathBuf]| OpenSnapshot::open(&path(name), ancestors);
    open("layer", &[path("full")]).unwrap();

    forge(&path("cut"), &[layer], RAM_BYTES);
    forge(&path("twice"), &[full, full], RAM_BYTES);
    forge(&path("larger"), &[full], 2 * RAM_BYTES);
    for (name, ancestors) in [
        ("cut", vec![path("layer")]),
        ("twice", vec![path("full"), path("full")]),
        ("larger", vec![path("full")]),
    ] {
        let message = open(name, &ancestors).expect_err(name).to_string();
        assert!(
            message.contains("one full snapshot of its size"),
            "{name}: {message}"
        );
    }
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_refused_or_make_sense(
        bytes in proptest::collection::vec(0..=u8::MAX, 0..300)
    ) {
        fuzz_state(&bytes);
    }
}
