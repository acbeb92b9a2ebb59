use std::convert::Infallible;
use std::fs;
use std::process::Command;

use super::*;

const ROOT: Attributes = Attributes {
    permissions: 0o755,
    uid: 0,
    gid: 0,
    modified: 1_600_000_000,
};

fn file(content: &[u8]) -> Item<Vec<u8>> {
    Item::File {
        attributes: Attributes {
            permissions: 0o644,
            ..ROOT
        },
        bytes: content.len() as u64,
        content: content.to_vec(),
    }
}

fn image(tree: &Tree<Vec<u8>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let copy = |content: &Vec<u8>, sink: &mut dyn Write| {
        sink.write_all(content).unwrap();
        Ok::<_, Infallible>(())
    };
    write(tree, &mut bytes, copy).unwrap();
    bytes
}

fn number_at<const BYTES: usize>(image: &[u8], offset: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes[..BYTES].copy_from_slice(&image[offset..offset + BYTES]);
    u64::from_le_bytes(bytes)
}

/// The data of the inode at this place, and its mode.
fn read_inode(image: &[u8], place: u64) -> (u64, &[u8]) {
    let offset = place as usize * SLOT_BYTES;
    let mode = number_at::<2>(image, offset + 4);
    let bytes = number_at::<8>(image, offset + 8) as usize;
    let data = number_at::<4>(image, offset + 16) as usize * BLOCK_BYTES;
    (mode, &image[data..data + bytes])
}

/// Entries of a directory as the kernel finds them.
fn entries(listing: &[u8]) -> Vec<(Vec<u8>, u64)> {
    let mut found = Vec::new();
    for block in listing.chunks(BLOCK_BYTES) {
        let count = number_at::<2>(block, 8) as usize / ENTRY_BYTES;
        for index in 0..count {
            let at = |index: usize| number_at::<2>(block, index * ENTRY_BYTES + 8) as usize;
            let end = if index + 1 == count {
                block.len()
            } else {
                at(index + 1)
            };
            let name = &block[at(index)..end];
            let name = name.split(|byte| *byte == 0).next().unwrap();
            found.push((name.to_vec(), number_at::<8>(block, index * ENTRY_BYTES)));
        }
    }
    found
}

fn look_up<'a>(image: &'a [u8], path: &str) -> (u64, &'a [u8]) {
    let mut place = number_at::<2>(image, SUPERBLOCK_OFFSET + 14);
    for part in path.split('/') {
        let (_, listing) = read_inode(image, place);
        let found = entries(listing)
            .into_iter()
            .find(|(name, _)| name == part.as_bytes());
        place = found.unwrap_or_else(|| panic!("{part} of {path}")).1;
    }
    read_inode(image, place)
}

#[test]
fn what_is_put_in_is_found_again() {
    let mut tree = Tree::new(ROOT);
    let long = vec![7; 3 * BLOCK_BYTES + 5];
    tree.put(b"a/b/long", file(&long), ROOT).unwrap();
    tree.put(b"a/empty", file(b""), ROOT).unwrap();
    let target = b"../somewhere".to_vec();
    let attributes = ROOT;
    tree.put(b"a/link", Item::Link { attributes, target }, ROOT)
        .unwrap();
    for number in 0..1000 {
        let name = format!("many/a-name-that-is-not-short-{number}");
        tree.put(name.as_bytes(), file(name.as_bytes()), ROOT)
            .unwrap();
    }
    let image = image(&tree);
    assert_eq!(image.len() % BLOCK_BYTES, 0);
    assert_eq!(
        number_at::<4>(&image, SUPERBLOCK_OFFSET + 36) as usize * BLOCK_BYTES,
        image.len()
    );
    assert_eq!(look_up(&image, "a/b/long"), (0o100_644, long.as_slice()));
    assert_eq!(look_up(&image, "a/empty").1, b"");
    assert_eq!(look_up(&image, "a/link").1, b"../somewhere");
    assert_eq!(look_up(&image, "many/../a/b/./long").1, long);
    let (mode, listing) = look_up(&image, "many");
    assert_eq!(mode, 0o040_755);
    assert!(listing.len() > BLOCK_BYTES);
    let names: Vec<_> = entries(listing).into_iter().map(|(name, _)| name).collect();
    assert!(names.is_sorted());
    assert_eq!(names.len(), 1002);
    let text = "many/a-name-that-is-not-short-777";
    assert_eq!(look_up(&image, text).1, text.as_bytes());
}

#[test]
fn the_same_tree_gives_the_same_bytes() {
    let make = |names: &[&str]| {
        let mut tree = Tree::new(ROOT);
        for name in names {
            tree.put(name.as_bytes(), file(name.as_bytes()), ROOT)
                .unwrap();
        }
        image(&tree)
    };
    assert_eq!(make(&["a/x", "b", "a/y"]), make(&["b", "a/y", "a/x"]));
}

#[test]
fn later_files_replace_earlier_ones_and_never_go_through_links() {
    let mut tree = Tree::new(ROOT);
    let target = b"/etc".to_vec();
    let attributes = ROOT;
    tree.put(b"link", Item::Link { attributes, target }, ROOT)
        .unwrap();
    tree.put(b"both/old", file(b"old"), ROOT).unwrap();
    tree.put(b"file", file(b"old"), ROOT).unwrap();
    tree.put(b"link/passwd", file(b"new"), ROOT).unwrap();
    tree.put(
        b"both",
        Item::empty(Attributes {
            permissions: 0o700,
            ..ROOT
        }),
        ROOT,
    )
    .unwrap();
    tree.put(b"both/new", file(b"new"), ROOT).unwrap();
    tree.put(b"file", file(b"new"), ROOT).unwrap();
    let image = image(&tree);
    assert_eq!(look_up(&image, "link").0, 0o040_755);
    assert_eq!(look_up(&image, "link/passwd").1, b"new");
    assert_eq!(look_up(&image, "both").0, 0o040_700);
    assert_eq!(look_up(&image, "both/old").1, b"old");
    assert_eq!(look_up(&image, "both/new").1, b"new");
    assert_eq!(look_up(&image, "file").1, b"new");
}

#[test]
fn impossible_names_are_refused() {
    let long = "x".repeat(256);
    for name in ["", "a//b", "../a", "a/.", "a\0b", &long] {
        let mut tree = Tree::new(ROOT);
        assert!(
            tree.put(name.as_bytes(), file(b""), ROOT).is_err(),
            "{name:?}"
        );
    }
}

#[test]
fn a_file_that_changes_meanwhile_is_noticed() {
    let mut tree = Tree::new(ROOT);
    tree.put(b"a", file(b"four"), ROOT).unwrap();
    let copy = |_: &Vec<u8>, sink: &mut dyn Write| {
        sink.write_all(b"three").unwrap();
        Ok::<_, Infallible>(())
    };
    let written = write(&tree, io::sink(), copy);
    assert!(matches!(
        written,
        Err(WriteError::Length {
            expected: 4,
            found: 5
        })
    ));
}

/// The format's own checker agrees, where it is installed.
#[test]
fn the_checker_of_the_format_agrees() {
    let directory = tempfile::tempdir().unwrap();
    let top = directory.path().join("top");
    fs::create_dir_all(top.join("d/e")).unwrap();
    fs::write(top.join("d/e/f"), vec![1; 10_000]).unwrap();
    fs::write(top.join("g"), "").unwrap();
    std::os::unix::fs::symlink("d/e", top.join("l")).unwrap();
    let tree = walk(&top, 5).unwrap();
    let path = directory.path().join("image");
    let copy = |from: &std::path::PathBuf, sink: &mut dyn Write| {
        io::copy(&mut fs::File::open(from)?, sink).map(drop)
    };
    write(&tree, fs::File::create(&path).unwrap(), copy).unwrap();
    let extracted = directory.path().join("out");
    let option = format!("--extract={}", extracted.display());
    match Command::new("fsck.erofs").arg(option).arg(&path).output() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            eprintln!("fsck.erofs is not installed (package erofs-utils)");
        }
        checked => {
            let checked = checked.unwrap();
            assert!(checked.status.success(), "{checked:?}");
            assert_eq!(fs::read(extracted.join("d/e/f")).unwrap(), vec![1; 10_000]);
            assert_eq!(
                fs::read_link(extracted.join("l")).unwrap().to_str(),
                Some("d/e")
            );
        }
    }
}
