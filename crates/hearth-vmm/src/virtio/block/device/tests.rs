use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::PathBuf;

use virtio_bindings::bindings::virtio_mmio::VIRTIO_MMIO_INTERRUPT_STATUS;
use virtio_bindings::bindings::virtio_ring::VRING_DESC_F_NEXT;

use super::*;
use crate::virtio::MmioDevice;
use crate::virtio::chain::QueueError;
use crate::virtio::driver::{Buffer, Driver, HIGH_START, ram};
use crate::virtio::limiter::BucketLimit;

const DISK_BYTES: u64 = 4 << 20;

struct Scratch(tempfile::TempDir);

impl Scratch {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A base whose every sector starts with its number.
    fn base(&self) -> DiskLayer {
        let path = self.path("base");
        let mut bytes = vec![0; DISK_BYTES as usize];
        for (number, sector) in bytes.chunks_mut(512).enumerate() {
            sector[..8].copy_from_slice(&(number as u64 + 1).to_le_bytes());
        }
        fs::write(&path, bytes).unwrap();
        DiskLayer {
            path,
            format: DiskFormat::Raw,
        }
    }

    fn overlay(&self, name: &str, below: &DiskLayer) -> DiskLayer {
        let path = self.path(name);
        create_overlay(&path, DISK_BYTES, Some((&below.path, below.format))).unwrap();
        DiskLayer {
            path,
            format: DiskFormat::Qcow2,
        }
    }
}

fn config(layers: Vec<DiskLayer>, read_only: bool) -> BlockConfig {
    BlockConfig {
        serial: "scratch".into(),
        layers,
        read_only,
        limit: RateLimit::default(),
        is_replaced: false,
    }
}

fn writable(scratch: &Scratch) -> Driver<Block> {
    let base = scratch.base();
    let top = scratch.overlay("top", &base);
    Driver::started(Block::open(config(vec![base, top], false)).unwrap(), 0)
}

fn head(kind: u32, sector: u64) -> Vec<u8> {
    [u64::from(kind).to_le_bytes(), sector.to_le_bytes()].concat()
}

fn status(driver: &Driver<Block>, buffer: Buffer) -> u32 {
    u32::from(driver.bytes(buffer)[0])
}

fn submit_read(driver: &mut Driver<Block>, sector: u64, len: usize) -> (Vec<Buffer>, Buffer) {
    let header = driver.readable(&head(blk::VIRTIO_BLK_T_IN, sector));
    let data = driver.writable(len);
    (vec![header, data, driver.writable(1)], data)
}

fn read(driver: &mut Driver<Block>, sector: u64, len: usize) -> Vec<u8> {
    let (chain, data) = submit_read(driver, sector, len);
    assert_eq!(driver.request(0, &chain), len as u32 + 1);
    assert_eq!(status(driver, chain[2]), blk::VIRTIO_BLK_S_OK);
    driver.bytes(data)
}

fn simple(driver: &mut Driver<Block>, kind: u32, sector: u64, data: &[u8]) -> u32 {
    let header = driver.readable(&head(kind, sector));
    let data = driver.readable(data);
    let end = driver.writable(1);
    driver.request(0, &[header, data, end]);
    status(driver, end)
}

fn write(driver: &mut Driver<Block>, sector: u64, data: &[u8]) {
    assert_eq!(
        simple(driver, blk::VIRTIO_BLK_T_OUT, sector, data),
        blk::VIRTIO_BLK_S_OK
    );
}

fn flush(driver: &mut Driver<Block>) {
    let header = driver.readable(&head(blk::VIRTIO_BLK_T_FLUSH, 0));
    let end = driver.writable(1);
    driver.request(0, &[header, end]);
    assert_eq!(status(driver, end), blk::VIRTIO_BLK_S_OK);
}

fn segment(sector: u64, sectors: u32, flags: u32) -> Vec<u8> {
    [
        &sector.to_le_bytes()[..],
        &sectors.to_le_bytes(),
        &flags.to_le_bytes(),
    ]
    .concat()
}

#[test]
fn reads_base_and_writes_only_the_overlay() {
    let scratch = Scratch::new();
    let mut driver = writable(&scratch);
    let before = fs::read(scratch.path("base")).unwrap();
    assert_eq!(read(&mut driver, 8, 1024)[..8], 9u64.to_le_bytes());
    write(&mut driver, 9, &[0xab; 1024]);
    flush(&mut driver);
    assert_eq!(read(&mut driver, 8, 2048)[..8], 9u64.to_le_bytes());
    assert_eq!(read(&mut driver, 8, 2048)[512..1536], [0xab; 1024]);
    assert_eq!(read(&mut driver, 11, 512)[..8], 12u64.to_le_bytes());
    assert_eq!(fs::read(scratch.path("base")).unwrap(), before);
}

#[test]
fn a_request_may_be_scattered_over_both_memory_regions() {
    let scratch = Scratch::new();
    let mut driver = writable(&scratch);
    let header = driver.readable(&head(blk::VIRTIO_BLK_T_IN, 0));
    let low = driver.writable(700);
    let high = Buffer {
        address: HIGH_START,
        len: 324,
        writable: true,
    };
    let end = driver.writable(1);
    assert_eq!(driver.request(0, &[header, low, high, end]), 1025);
    assert_eq!(driver.bytes(low)[512..520], 2u64.to_le_bytes());
}

#[test]
fn empty_parts_and_empty_requests_are_harmless() {
    let scratch = Scratch::new();
    let mut driver = writable(&scratch);
    let header = driver.readable(&head(blk::VIRTIO_BLK_T_IN, 1));
    let nothing = Buffer {
        address: 0,
        len: 0,
        writable: true,
    };
    let data = driver.writable(512);
    let end = driver.writable(1);
    assert_eq!(
        driver.request(0, &[header, nothing, data, nothing, end]),
        513
    );
    assert_eq!(driver.bytes(data)[..8], 2u64.to_le_bytes());
    for kind in [
        blk::VIRTIO_BLK_T_IN,
        blk::VIRTIO_BLK_T_OUT,
        blk::VIRTIO_BLK_T_GET_ID,
    ] {
        assert_eq!(simple(&mut driver, kind, 0, &[]), blk::VIRTIO_BLK_S_OK);
    }
}

#[test]
fn serial_is_padded() {
    let scratch = Scratch::new();
    let mut driver = writable(&scratch);
    let header = driver.readable(&head(blk::VIRTIO_BLK_T_GET_ID, 0));
    let id = driver.writable(20);
    let end = driver.writable(1);
    driver.request(0, &[header, id, end]);
    assert_eq!(driver.bytes(id), *b"scratch\0\0\0\0\0\0\0\0\0\0\0\0\0");
}

#[test]
fn discarded_and_zeroed_ranges_never_show_the_base_again() {
    let scratch = Scratch::new();
    let mut driver = writable(&scratch);
    let discard = segment(0, 64, 0);
    assert_eq!(
        simple(&mut driver, blk::VIRTIO_BLK_T_DISCARD, 0, &discard),
        0
    );
    assert_eq!(read(&mut driver, 0, 64 * 512), vec![0; 64 * 512]);
    for (sector, flags) in [(100, 0), (200, 1)] {
        let zeroes = segment(sector, 3, flags);
        assert_eq!(
            simple(&mut driver, blk::VIRTIO_BLK_T_WRITE_ZEROES, 0, &zeroes),
            0
        );
        assert_eq!(read(&mut driver, sector, 3 * 512), [0; 3 * 512]);
        assert_eq!(
            read(&mut driver, sector + 3, 512)[..8],
            (sector + 4).to_le_bytes()
        );
    }
}

#[test]
fn requests_that_make_no_sense_get_an_error_status() {
    let scratch = Scratch::new();
    let mut driver = writable(&scratch);
    let last = DISK_BYTES / 512;
    let ioerr = blk::VIRTIO_BLK_S_IOERR;
    let unsupported = blk::VIRTIO_BLK_S_UNSUPP;
    let out = blk::VIRTIO_BLK_T_OUT;
    let discard = blk::VIRTIO_BLK_T_DISCARD;
    let cases = [
        (out, last, vec![0; 512], ioerr),
        (out, last - 1, vec![0; 1024], ioerr),
        (out, u64::MAX, vec![0; 512], ioerr),
        (out, 0, vec![0; 100], ioerr),
        (discard, 0, segment(0, 1, 1), unsupported),
        (discard, 0, segment(0, u32::MAX, 0), ioerr),
        (discard, 0, segment(last, 1, 0), ioerr),
        (discard, 0, vec![0; 15], ioerr),
        (discard, 0, segment(0, 1, 0).repeat(9), ioerr),
        (
            blk::VIRTIO_BLK_T_WRITE_ZEROES,
            0,
            segment(0, 1, 2),
            unsupported,
        ),
        (77, 0, vec![], unsupported),
    ];
    for (kind, sector, data, expected) in cases {
        assert_eq!(
            simple(&mut driver, kind, sector, &data),
            expected,
            "{kind} {sector:#x}"
        );
    }
    assert_eq!(driver.faults.take().0, 0);
}

#[test]
fn a_read_only_disk_refuses_every_change() {
    let scratch = Scratch::new();
    let base = scratch.base();
    let block = Block::open(config(vec![base], true)).unwrap();
    assert_eq!(
        block.features() & 1 << blk::VIRTIO_BLK_F_RO,
        1 << blk::VIRTIO_BLK_F_RO
    );
    let mut driver = Driver::started(block, 0);
    for kind in [
        blk::VIRTIO_BLK_T_OUT,
        blk::VIRTIO_BLK_T_DISCARD,
        blk::VIRTIO_BLK_T_WRITE_ZEROES,
    ] {
        assert_eq!(
            simple(&mut driver, kind, 0, &[0; 512]),
            blk::VIRTIO_BLK_S_IOERR
        );
    }
    assert_eq!(read(&mut driver, 1, 512)[..8], 2u64.to_le_bytes());
    flush(&mut driver);
    assert!(matches!(
        driver.transport.with_device(Block::seal),
        Err(SealError::ReadOnly)
    ));
}

#[test]
fn broken_chains_ask_for_a_reset_and_the_device_recovers() {
    let next = VRING_DESC_F_NEXT as u16;
    type Break = fn(&Driver<Block>, u16);
    let cases: [(Break, Option<QueueError>); 6] = [
        (
            |d, n| d.raw_descriptor(0, 0, 0x10_0000, 16, n, 0),
            Some(QueueError::Loop),
        ),
        (
            |d, n| d.raw_descriptor(0, 0, 0x10_0000, 16, n, 999),
            Some(QueueError::DescriptorIndex(999)),
        ),
        (
            |d, _| d.raw_descriptor(0, 0, 0x10_0000, 16, 4, 0),
            Some(QueueError::Indirect),
        ),
        (
            |d, _| d.raw_descriptor(0, 0, u64::MAX - 7, 16, 0, 0),
            Some(QueueError::Buffer {
                address: u64::MAX - 7,
                len: 16,
            }),
        ),
        // Well-formed, but neither a header nor a status byte.
        (|d, _| d.raw_descriptor(0, 0, 0x10_0000, 8, 0, 0), None),
        (|d, _| d.raw_descriptor(0, 0, 0x10_0000, 16, 0, 0), None),
    ];
    let scratch = Scratch::new();
    let base = scratch.base();
    for (breaks, expected) in cases {
        let block = Block::open(config(vec![base.clone()], true)).unwrap();
        let mut driver = Driver::started(block, 0);
        breaks(&driver, next);
        driver.publish(0, 0);
        driver.kick(0);
        match (driver.fault().cause, expected) {
            (FaultCause::Queue(error), Some(expected)) => assert_eq!(error, expected),
            (FaultCause::Request(_), None) => {}
            other => panic!("{other:?}"),
        }
        // Notifications to a failed device do nothing; a reset makes it whole.
        driver.kick(0);
        driver.pump();
        driver.reset();
        driver.start(0);
        assert_eq!(read(&mut driver, 1, 512)[..8], 2u64.to_le_bytes());
    }
}

#[test]
fn state_moves_in_the_middle_of_traffic() {
    let scratch = Scratch::new();
    let mut driver = writable(&scratch);
    write(&mut driver, 1, &[7; 512]);
    // Two requests that the first device never sees a notification for.
    let (first, first_data) = submit_read(&mut driver, 1, 512);
    let (second, second_data) = submit_read(&mut driver, 2, 512);
    driver.offer(0, &first);
    driver.offer(0, &second);
    driver.transport.pause();
    let base = DiskLayer {
        path: scratch.path("base"),
        format: DiskFormat::Raw,
    };
    let top = DiskLayer {
        path: scratch.path("top"),
        format: DiskFormat::Qcow2,
    };
    driver.transport.with_device(Block::seal).unwrap();
    let next = scratch.overlay("next", &top);
    let block = Block::open(config(vec![base, top, next], false)).unwrap();
    let mut driver = driver.moved_to(block);
    driver.wait_for(|driver| driver.used(0));
    driver.wait_for(|driver| driver.used(0));
    assert_eq!(driver.bytes(first_data), [7; 512]);
    assert_eq!(driver.bytes(second_data)[..8], 3u64.to_le_bytes());
    write(&mut driver, 5, &[8; 512]);
    assert_eq!(read(&mut driver, 5, 512), [8; 512]);
}

#[test]
fn a_fork_seals_the_layer_and_goes_on_above_it() {
    let scratch = Scratch::new();
    let mut driver = writable(&scratch);
    for generation in 1..4u8 {
        write(&mut driver, u64::from(generation), &[generation; 512]);
        let overlay = scratch.path(&format!("top{generation}"));
        let running = driver
            .transport
            .with_device(|block| block.seal_and_stack(&overlay));
        assert!(matches!(running, Err(SealError::NotQuiet)));
        driver.transport.pause();
        driver
            .transport
            .with_device(|block| block.seal_and_stack(&overlay))
            .unwrap();
        driver.transport.resume();
        let layers = driver
            .transport
            .with_device(|block| block.layers().to_vec());
        assert_eq!(layers.len(), 2 + usize::from(generation));
        let sealed = &layers[layers.len() - 2].path;
        assert_eq!(
            fs::metadata(sealed).unwrap().permissions().mode() & 0o777,
            0o444
        );
        let frozen = fs::read(sealed).unwrap();
        write(&mut driver, 100, &[generation; 512]);
        flush(&mut driver);
        assert_eq!(fs::read(sealed).unwrap(), frozen);
        for earlier in 1..=generation {
            assert_eq!(read(&mut driver, u64::from(earlier), 512), [earlier; 512]);
        }
    }
}

#[test]
fn a_failed_stack_can_be_repeated() {
    let scratch = Scratch::new();
    let mut driver = writable(&scratch);
    write(&mut driver, 3, &[3; 512]);
    driver.transport.pause();
    driver.transport.with_device(|block| {
        block.seal().unwrap();
        let moved = scratch.path("moved");
        assert!(
            block
                .stack(moved.clone(), 0, &scratch.path("next"))
                .is_err()
        );
        fs::rename(scratch.path("top"), &moved).unwrap();
        block.stack(moved, 0, &scratch.path("next")).unwrap();
    });
    driver.transport.resume();
    assert_eq!(read(&mut driver, 3, 512), [3; 512]);
}

#[test]
fn the_limiter_delays_but_loses_nothing() {
    let scratch = Scratch::new();
    let base = scratch.base();
    let mut config = config(vec![base], true);
    config.limit.operations = Some(BucketLimit {
        per_second: 200,
        burst: 2,
    });
    let mut driver = Driver::started(Block::open(config).unwrap(), 0);
    let before = Instant::now();
    for sector in 0..20 {
        assert_eq!(
            read(&mut driver, sector, 512)[..8],
            (sector + 1).to_le_bytes()
        );
    }
    assert!(before.elapsed().as_millis() >= 80);
}

/// A segment of sixteen bytes costs the host what its range costs, and its limiter knows.
#[test]
fn erased_ranges_are_charged() {
    let scratch = Scratch::new();
    let base = scratch.base();
    let top = scratch.overlay("top", &base);
    let mut config = config(vec![base, top], false);
    // Erasing the whole disk costs a quarter of a second of these.
    config.limit.bytes = Some(BucketLimit {
        per_second: DISK_BYTES / 32 * 4,
        burst: 1,
    });
    let mut driver = Driver::started(Block::open(config).unwrap(), 0);
    let all = segment(0, (DISK_BYTES / 512) as u32, 0);
    let before = Instant::now();
    assert_eq!(
        simple(&mut driver, blk::VIRTIO_BLK_T_DISCARD, 0, &all),
        blk::VIRTIO_BLK_S_OK
    );
    flush(&mut driver);
    assert!(before.elapsed().as_millis() >= 200);
}

#[test]
fn what_was_flushed_is_in_the_file() {
    let scratch = Scratch::new();
    let mut driver = writable(&scratch);
    write(&mut driver, 40, &[9; 4096]);
    flush(&mut driver);
    // A copy of the file now is what a crash of this process would leave.
    let crashed = DiskLayer {
        path: scratch.path("crashed"),
        format: DiskFormat::Qcow2,
    };
    fs::copy(scratch.path("top"), &crashed.path).unwrap();
    let base = DiskLayer {
        path: scratch.path("base"),
        format: DiskFormat::Raw,
    };
    let mut after = Driver::started(Block::open(config(vec![base, crashed], false)).unwrap(), 0);
    assert_eq!(read(&mut after, 40, 4096), [9; 4096]);
}

#[test]
fn chains_are_as_listed_and_never_as_a_header_says() {
    let scratch = Scratch::new();
    let base = scratch.base();
    let lying = scratch.path("lying");
    create_overlay(
        &lying,
        DISK_BYTES,
        Some((std::path::Path::new("/etc/passwd"), DiskFormat::Raw)),
    )
    .unwrap();
    let lying = DiskLayer {
        path: lying,
        format: DiskFormat::Qcow2,
    };
    let mut driver = Driver::started(
        Block::open(config(vec![base.clone(), lying.clone()], true)).unwrap(),
        0,
    );
    assert_eq!(read(&mut driver, 0, 512)[..8], 1u64.to_le_bytes());
    let mut alone = Driver::started(Block::open(config(vec![lying.clone()], true)).unwrap(), 0);
    assert_eq!(read(&mut alone, 0, 512), [0; 512]);

    let open = |layers, read_only| Block::open(config(layers, read_only)).unwrap_err();
    let image = |error| match error {
        BlockError::Image(error) => error,
        other => panic!("{other}"),
    };
    assert!(matches!(
        image(open(vec![], true)),
        ImageError::LayerCount(0)
    ));
    assert!(matches!(
        image(open(vec![base.clone()], false)),
        ImageError::RawWritable(_)
    ));
    assert!(matches!(
        image(open(vec![lying, base.clone()], true)),
        ImageError::RawAbove(_)
    ));
    let not_qcow2 = DiskLayer {
        format: DiskFormat::Qcow2,
        ..base
    };
    assert!(matches!(
        image(open(vec![not_qcow2], true)),
        ImageError::Format { .. }
    ));
}

#[test]
fn a_new_overlay_is_small_and_refuses_bad_sizes() {
    let scratch = Scratch::new();
    let path = scratch.path("big");
    create_overlay(&path, 1 << 40, None).unwrap();
    let layer = DiskLayer {
        path: path.clone(),
        format: DiskFormat::Qcow2,
    };
    assert_eq!(crate::virtio::block::disk_size(&[layer]).unwrap(), 1 << 40);
    use std::os::unix::fs::MetadataExt;
    assert!(fs::metadata(&path).unwrap().blocks() * 512 <= 64 << 10);
    for size in [0, 100, 1 << 50] {
        assert!(matches!(
            create_overlay(&scratch.path("none"), size, None),
            Err(OverlayError::Size(_))
        ));
    }
    assert!(matches!(
        create_overlay(&path, 512, None),
        Err(OverlayError::Create(_))
    ));
}

#[test]
fn writes_survive_a_full_rewrite_of_the_overlay() {
    let scratch = Scratch::new();
    let mut driver = writable(&scratch);
    for sector in (0..DISK_BYTES / 512).step_by(128) {
        write(&mut driver, sector, &vec![sector as u8; 128 * 512]);
    }
    flush(&mut driver);
    for sector in (0..DISK_BYTES / 512).step_by(128) {
        assert_eq!(read(&mut driver, sector + 127, 512), [sector as u8; 512]);
    }
    let file = fs::File::open(scratch.path("top")).unwrap();
    let mut magic = [0; 4];
    file.read_exact_at(&mut magic, 0).unwrap();
    assert_eq!(&magic, b"QFI\xfb");
}

#[test]
fn a_replaced_disk_may_have_another_size_and_the_driver_is_told() {
    let scratch = Scratch::new();
    let base = scratch.base();
    let other = DiskLayer {
        path: scratch.path("other"),
        format: DiskFormat::Raw,
    };
    fs::write(&other.path, vec![7; 2 * DISK_BYTES as usize]).unwrap();
    let open = |layer: &DiskLayer, is_replaced| {
        Block::open(BlockConfig {
            is_replaced,
            ..config(vec![layer.clone()], true)
        })
        .unwrap()
    };
    let driver = Driver::started(open(&base, false), 0);
    driver.transport.pause();
    let state = driver.transport.save();
    let restored = |block| {
        let next = Driver::cold(block, ram());
        next.transport.restore(&state).map(|()| {
            next.transport.resume();
            next.read(VIRTIO_MMIO_INTERRUPT_STATUS)
        })
    };
    let configuration = 2;
    assert!(restored(open(&other, false)).is_err(), "it would be a lie");
    assert_eq!(
        restored(open(&other, true)).unwrap() & configuration,
        configuration
    );
    // Of the same size there is nothing to tell.
    assert_eq!(restored(open(&base, true)).unwrap() & configuration, 0);

    // What the driver reads from then on is the other disk, beyond the old end too.
    let mut driver = driver.moved_to(open(&other, true));
    assert_eq!(read(&mut driver, DISK_BYTES / 512 + 8, 512), [7; 512]);
}
