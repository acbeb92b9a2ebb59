use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use vm_memory::VolatileSlice;

use super::super::image::{DiskFormat, DiskLayer, Image, drop_below_top};
use super::super::overlay::create_overlay;
use super::*;

/// Not whole clusters, so that the last one is short.
const DISK_BYTES: u64 = (1 << 20) + 7 * 512;

#[derive(Debug, Clone)]
enum Change {
    Write(u8),
    Zero { free: bool },
    Discard,
}

/// A change of so many bytes.
#[derive(Debug, Clone)]
struct Edit {
    at: u64,
    bytes: u64,
    change: Change,
}

fn base(root: &Path, bytes: u64) -> DiskLayer {
    let path = root.join("base");
    let content: Vec<u8> = (0..bytes).map(|at| (at / 512 % 251 + 1) as u8).collect();
    fs::write(&path, content).unwrap();
    DiskLayer {
        path,
        format: DiskFormat::Raw,
    }
}

fn add_overlay(layers: &mut Vec<DiskLayer>, path: PathBuf, bytes: u64) {
    let below = layers.last().unwrap();
    create_overlay(&path, bytes, Some((&below.path, below.format))).unwrap();
    layers.push(DiskLayer {
        path,
        format: DiskFormat::Qcow2,
    });
}

fn apply(image: &mut Image, edit: &Edit) {
    let Edit { at, bytes, change } = edit;
    match change {
        Change::Write(value) => {
            let mut data = vec![*value; *bytes as usize];
            image
                .write(&[VolatileSlice::from(data.as_mut_slice())], *at)
                .unwrap();
        }
        Change::Zero { free } => image.write_zeroes(*at, *bytes, *free).unwrap(),
        Change::Discard => image.discard(*at, *bytes).unwrap(),
    }
}

/// All that the disk reads as.
fn content(layers: &[DiskLayer]) -> Vec<u8> {
    let image = Image::open(layers, false).unwrap();
    let mut bytes = vec![0; (image.sectors() * 512) as usize];
    image
        .read(&[VolatileSlice::from(bytes.as_mut_slice())], 0)
        .unwrap();
    bytes
}

/// A base and an overlay for each list of edits.
fn stack(root: &Path, bytes: u64, overlays: &[Vec<Edit>]) -> Vec<DiskLayer> {
    let mut layers = vec![base(root, bytes)];
    for (index, edits) in overlays.iter().enumerate() {
        add_overlay(&mut layers, root.join(format!("overlay-{index}")), bytes);
        let mut image = Image::open(&layers, true).unwrap();
        edits.iter().for_each(|edit| apply(&mut image, edit));
        image.flush().unwrap();
    }
    layers
}

/// The same stack, whose top is a copy.
fn with_copied_top(layers: &[DiskLayer], name: &str) -> Vec<DiskLayer> {
    let mut copied = layers.to_vec();
    let top = copied.last_mut().unwrap();
    let path = top.path.with_file_name(name);
    fs::copy(&top.path, &path).unwrap();
    top.path = path;
    copied
}

fn edit(disk_bytes: u64) -> impl Strategy<Value = Edit> {
    let sectors = disk_bytes / 512;
    let change = prop_oneof![
        3 => (1..=u8::MAX).prop_map(Change::Write),
        1 => any::<bool>().prop_map(|free| Change::Zero { free }),
        1 => Just(Change::Discard),
    ];
    let length = prop_oneof![1..8_u64, 1..200_u64, Just(32_u64)];
    (0..sectors, length, any::<bool>(), change).prop_map(move |(at, length, aligned, change)| {
        let at = if aligned { at / 32 * 32 } else { at };
        Edit {
            at: at * 512,
            bytes: length.min(sectors - at) * 512,
            change,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// A disk of four overlays reads the same, byte by byte, whatever number of them was folded, with the long stack as well
    /// as with the short one, and also when folding was cut off.
    #[test]
    fn a_folded_disk_reads_the_same(
        overlays in proptest::collection::vec(proptest::collection::vec(edit(DISK_BYTES), 0..9), 4),
        steps in 0..9_usize,
    ) {
        let root = tempfile::tempdir().unwrap();
        let layers = stack(root.path(), DISK_BYTES, &overlays);
        let before = content(&layers);
        for count in 0..=3 {
            let mut folded = with_copied_top(&layers, &format!("folded-{count}"));
            Image::open(&folded, true).unwrap().fold(count).unwrap();
            prop_assert!(content(&folded) == before, "{} folded, the long stack", count);
            // Once more finds nothing to do.
            let top = folded.last().unwrap().path.clone();
            let once = fs::read(&top).unwrap();
            Image::open(&folded, true).unwrap().fold(count).unwrap();
            prop_assert!(fs::read(&top).unwrap() == once, "{} folded, once more", count);
            drop_below_top(&mut folded, count);
            prop_assert_eq!(folded.len(), layers.len() - count);
            prop_assert!(content(&folded) == before, "{} folded, the short stack", count);
        }
        let cut_off = with_copied_top(&layers, "cut-off");
        let image = Image::open(&cut_off, true).unwrap();
        let (mut at, mut buffer) = (0, vec![0; COPY_BYTES as usize]);
        for _ in 0..steps {
            if at < DISK_BYTES {
                at = step(image.access(), 3, at..DISK_BYTES, &mut buffer).unwrap();
            }
        }
        drop(image);
        prop_assert!(content(&cut_off) == before, "cut off at {}", at);
    }
}

/// Over the bounds of L2 tables (32 MiB), with more than one copy's worth of data, and zeros between.
#[test]
fn long_ranges_and_far_ones_are_folded() {
    const BYTES: u64 = 70 << 20;
    let root = tempfile::tempdir().unwrap();
    let write = |at, bytes, value| Edit {
        at,
        bytes,
        change: Change::Write(value),
    };
    let zero = |at, bytes| Edit {
        at,
        bytes,
        change: Change::Zero { free: true },
    };
    let mut layers = stack(
        root.path(),
        BYTES,
        &[
            vec![write(0, 5 << 20, 1), write(31 << 20, 4 << 20, 2)],
            vec![zero(33 << 20, 20 << 20), write((70 << 20) - 512, 512, 3)],
            vec![write(40 << 20, 3 << 20, 4)],
            vec![write(1 << 20, 512, 5), zero(41 << 20, 16 << 10)],
        ],
    );
    let before = content(&layers);
    Image::open(&layers, true).unwrap().fold(3).unwrap();
    for folded in &layers[1..4] {
        fs::remove_file(&folded.path).unwrap();
    }
    drop_below_top(&mut layers, 3);
    assert_eq!(layers.len(), 2);
    assert!(content(&layers) == before);
}

/// An image that is shorter than the disk hides what lies below it from its end on.
#[test]
fn beyond_the_end_of_a_short_image_are_zeros() {
    let root = tempfile::tempdir().unwrap();
    let mut layers = vec![base(root.path(), DISK_BYTES)];
    add_overlay(
        &mut layers,
        root.path().join("short"),
        DISK_BYTES / 2 / 512 * 512,
    );
    add_overlay(&mut layers, root.path().join("long"), DISK_BYTES);
    add_overlay(&mut layers, root.path().join("top"), DISK_BYTES);
    let edit = Edit {
        at: DISK_BYTES - 1024,
        bytes: 512,
        change: Change::Write(3),
    };
    apply(&mut Image::open(&layers, true).unwrap(), &edit);
    let before = content(&layers);
    assert!(
        before[(DISK_BYTES / 2) as usize..(DISK_BYTES - 1024) as usize]
            .iter()
            .all(|byte| *byte == 0)
    );
    Image::open(&layers, true).unwrap().fold(2).unwrap();
    drop_below_top(&mut layers, 2);
    assert!(content(&layers) == before);
}

/// A file that cannot grow is what a full disk is.
#[test]
fn a_disk_that_cannot_be_folded_stays_as_it_is() {
    let root = tempfile::tempdir().unwrap();
    let edit = Edit {
        at: 0,
        bytes: 512 << 10,
        change: Change::Write(9),
    };
    let mut layers = stack(root.path(), DISK_BYTES, &[vec![edit], Vec::new()]);
    let before = content(&layers);
    let flags = MemfdFlags::ALLOW_SEALING | MemfdFlags::CLOEXEC;
    let top = fs::File::from(memfd_create("top", flags).unwrap());
    let empty = fs::read(&layers[2].path).unwrap();
    // Room for less than is to be folded.
    top.set_len(empty.len() as u64 + (128 << 10)).unwrap();
    top.write_all_at(&empty, 0).unwrap();
    fcntl_add_seals(&top, SealFlags::GROW).unwrap();
    layers[2].path = PathBuf::from(format!("/proc/self/fd/{}", top.as_raw_fd()));

    let image = Image::open(&layers, true).unwrap();
    image.fold(1).unwrap_err();
    let mut bytes = vec![0; DISK_BYTES as usize];
    let read = [VolatileSlice::from(bytes.as_mut_slice())];
    image.read(&read, 0).unwrap();
    assert!(bytes == before, "the open disk");
    image.flush().unwrap();
    drop(image);
    assert!(content(&layers) == before, "the disk opened again");
}

/// What no folded image holds stays where it is: the top does not grow by the rest of the disk.
#[test]
fn only_what_the_folded_images_hold_is_copied() {
    let root = tempfile::tempdir().unwrap();
    let one = vec![Edit {
        at: 0,
        bytes: 16 << 10,
        change: Change::Write(9),
    }];
    let layers = stack(root.path(), DISK_BYTES, &[one, Vec::new(), Vec::new()]);
    let top = &layers[3].path;
    let before = fs::metadata(top).unwrap().len();
    Image::open(&layers, true).unwrap().fold(1).unwrap();
    assert_eq!(fs::metadata(top).unwrap().len(), before, "nothing is held");
    Image::open(&layers, true).unwrap().fold(2).unwrap();
    let grown = fs::metadata(top).unwrap().len() - before;
    assert!((16 << 10..=48 << 10).contains(&grown), "{grown} bytes");
    let mut magic = [0; 4];
    fs::File::open(top)
        .unwrap()
        .read_exact_at(&mut magic, 0)
        .unwrap();
    assert_eq!(&magic, b"QFI\xfb");
}

#[test]
fn layers_are_left_out_below_the_top() {
    let root = tempfile::tempdir().unwrap();
    let layers = stack(
        root.path(),
        DISK_BYTES,
        &[Vec::new(), Vec::new(), Vec::new()],
    );
    for (count, left) in [(0, vec![0, 1, 2, 3]), (1, vec![0, 1, 3]), (2, vec![0, 3])] {
        let mut short = layers.clone();
        drop_below_top(&mut short, count);
        let expected: Vec<DiskLayer> = left.iter().map(|at| layers[*at].clone()).collect();
        assert_eq!(short, expected);
    }
}
