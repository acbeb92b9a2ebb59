use vm_memory::{Bytes, GuestAddress};

use super::*;
use crate::virtio::MmioDevice;
use crate::virtio::balloon::discard::PAGE;
use crate::virtio::driver::{Buffer, Driver, HIGH_START, LOW_LEN};

const DEFLATE: usize = 1;
const DATA: u64 = 8 << 20;

fn balloon() -> Driver<Balloon> {
    Driver::started(Balloon::new(), F_REPORTING | F_DEFLATE_ON_OOM)
}

fn fill(driver: &Driver<Balloon>, address: u64, pages: u64) {
    driver
        .ram
        .write_slice(&vec![0xee; (pages * PAGE) as usize], GuestAddress(address))
        .unwrap();
}

fn byte(driver: &Driver<Balloon>, address: u64) -> u8 {
    driver.ram.read_obj(GuestAddress(address)).unwrap()
}

fn numbers(pages: &[u64]) -> Vec<u8> {
    pages
        .iter()
        .flat_map(|page| (*page as u32).to_le_bytes())
        .collect()
}

fn config(driver: &Driver<Balloon>, offset: u64) -> u32 {
    let mut word = [0; 4];
    driver.transport.read(0x100 + offset, &mut word);
    u32::from_le_bytes(word)
}

#[test]
fn inflated_pages_go_and_their_neighbours_stay() {
    let mut driver = balloon();
    fill(&driver, DATA, 8);
    let first = DATA / PAGE;
    let list = driver.readable(&numbers(&[first + 5, first + 2, first + 3, first + 2]));
    driver.request(INFLATE, &[list]);
    let kept: Vec<u8> = (0..8)
        .map(|page| byte(&driver, DATA + page * PAGE))
        .collect();
    assert_eq!(kept, [0xee, 0xee, 0, 0, 0xee, 0, 0xee, 0xee]);
    driver.request(DEFLATE, &[list]);
}

#[test]
fn reported_ranges_go_in_whole_pages() {
    let mut driver = balloon();
    fill(&driver, DATA, 8);
    fill(&driver, HIGH_START, 2);
    let chain = [
        Buffer {
            address: DATA + 100,
            len: 3 * PAGE as u32,
            writable: true,
        },
        Buffer {
            address: HIGH_START,
            len: 2 * PAGE as u32,
            writable: true,
        },
        Buffer {
            address: DATA + 6 * PAGE + 8,
            len: 16,
            writable: true,
        },
    ];
    driver.request(REPORTING, &chain);
    let kept: Vec<u8> = (0..8)
        .map(|page| byte(&driver, DATA + page * PAGE))
        .collect();
    assert_eq!(kept, [0xee, 0, 0, 0xee, 0xee, 0xee, 0xee, 0xee]);
    assert_eq!(byte(&driver, HIGH_START + PAGE), 0);
}

#[test]
fn a_page_of_a_mapped_snapshot_shows_the_snapshot_again() {
    use std::io::Write;
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&vec![0x11; LOW_LEN]).unwrap();
    let ram = crate::virtio::driver::mapped_ram(file);
    let mut driver = Driver::cold(Balloon::new(), ram);
    driver.reset();
    driver.start(F_REPORTING);
    fill(&driver, DATA, 1);
    driver.request(
        REPORTING,
        &[Buffer {
            address: DATA,
            len: PAGE as u32,
            writable: true,
        }],
    );
    assert_eq!(byte(&driver, DATA), 0x11);
}

#[test]
fn pages_outside_memory_are_a_fault() {
    for page in [LOW_LEN as u64 / PAGE, u64::from(u32::MAX)] {
        let mut driver = balloon();
        let list = driver.readable(&numbers(&[page]));
        driver.offer(INFLATE, &[list]);
        driver.kick(INFLATE);
        assert!(matches!(driver.fault().cause, FaultCause::Request(_)));
    }
}

#[test]
fn the_target_is_an_interrupt_and_a_new_generation() {
    let driver = balloon();
    assert_eq!(driver.read(0xfc), 0);
    driver
        .transport
        .with_device(|balloon| balloon.set_target_mib(64));
    assert_eq!(driver.read(0xfc), 1);
    assert_eq!(driver.read(0x60), 2);
    assert_eq!(config(&driver, 0), 64 * 256);
    driver.transport.write(0x104, &(32u32 * 256).to_le_bytes());
    assert_eq!(
        driver.transport.with_device(|balloon| balloon.actual_mib()),
        32
    );
    // Asked for the same again, the guest is not woken.
    let generation = driver.read(0xfc);
    driver
        .transport
        .with_device(|balloon| balloon.set_target_mib(64));
    assert_eq!(driver.read(0xfc), generation);
    // Both numbers move with the machine.
    let driver = driver.moved_to(Balloon::new());
    assert_eq!(
        (config(&driver, 0), config(&driver, 4)),
        (64 * 256, 32 * 256)
    );
    assert_eq!(config(&driver, 8), 0);
    driver
        .transport
        .with_device(|balloon| balloon.set_target_mib(u32::MAX));
    assert_eq!(config(&driver, 0), u32::MAX);
}
