use std::time::Duration;

use super::*;
use vmm_sys_util::eventfd::EFD_NONBLOCK;

fn port(spec: &SerialLogSpec) -> SerialPort {
    SerialPort::new(
        EventFd::new(EFD_NONBLOCK).unwrap(),
        Log::open(spec).unwrap(),
        None,
    )
}

fn print(port: &SerialPort, text: &str) {
    for byte in text.bytes() {
        port.write(0, byte);
    }
}

fn spec(directory: &tempfile::TempDir, limit_bytes: u64) -> SerialLogSpec {
    SerialLogSpec {
        path: directory.path().join("serial"),
        limit_bytes,
    }
}

#[test]
fn lines_arrive_and_a_rest_arrives_at_the_flush() {
    let directory = tempfile::tempdir().unwrap();
    let spec = spec(&directory, 1 << 20);
    let port = port(&spec);
    print(&port, "one\ntwo");
    assert_eq!(std::fs::read_to_string(&spec.path).unwrap(), "one\n");
    port.flush();
    assert_eq!(std::fs::read_to_string(&spec.path).unwrap(), "one\ntwo");
}

#[test]
fn a_full_log_starts_again_and_stays_within_its_limit() {
    let directory = tempfile::tempdir().unwrap();
    let spec = spec(&directory, 4096);
    let port = port(&spec);
    for _ in 0..200 {
        print(&port, "0123456789012345678901234567890123456789\n");
        assert!(std::fs::metadata(&spec.path).unwrap().len() <= 4096);
    }
}

#[test]
fn a_flood_is_dropped_and_counted() {
    let start = Instant::now();
    let mut budget = Budget::new(start);
    assert_eq!(budget.take(BURST_BYTES, start), Some(0));
    assert_eq!(budget.take(10, start), None);
    assert_eq!(budget.take(20, start), None);
    assert_eq!(budget.take(10, start + Duration::from_secs(1)), Some(30));
    let refilled = start + Duration::from_secs(3600);
    assert_eq!(
        budget.take(BURST_BYTES, refilled),
        Some(0),
        "the bucket does not overflow"
    );
}

#[test]
fn registers_survive_a_save() {
    let directory = tempfile::tempdir().unwrap();
    let spec = spec(&directory, 1 << 20);
    let first = port(&spec);
    first.write(7, 0x5a);
    first.write(3, 0x83);
    first.write(0, 12);
    let state = first.save();
    let line = EventFd::new(EFD_NONBLOCK).unwrap();
    let second = SerialPort::new(line, Log::nowhere(), Some(&state));
    assert_eq!(
        (second.read(7), second.read(3), second.read(0)),
        (0x5a, 0x83, 12)
    );
    assert_eq!(second.save(), state);
}
