use proptest::prelude::*;

use super::*;

fn split(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut lines = Vec::new();
    let mut splitter = LineSplitter::default();
    for piece in pieces {
        splitter.push(piece, |line| lines.push(line.to_vec()));
    }
    splitter.finish(|line| lines.push(line.to_vec()));
    lines
}

fn line(bytes: usize) -> LogLine {
    LogLine {
        realtime_ns: 0,
        is_stderr: false,
        bytes: vec![b'x'; bytes],
    }
}

#[test]
fn lines_are_put_together_from_pieces() {
    assert_eq!(
        split(&[b"a\nb", b"c\n", b"\nd"]),
        [&b"a"[..], b"bc", b"", b"d"]
    );
}

#[test]
fn a_long_line_comes_in_pieces() {
    let long = vec![b'x'; 2 * MAX_LOG_LINE_BYTES + 1];
    let lengths: Vec<usize> = split(&[&long, b"\n"]).iter().map(Vec::len).collect();
    assert_eq!(lengths, [MAX_LOG_LINE_BYTES, MAX_LOG_LINE_BYTES, 1]);
}

#[test]
fn a_line_of_exactly_the_limit_is_one_line() {
    let mut line = vec![b'x'; MAX_LOG_LINE_BYTES];
    line.push(b'\n');
    assert_eq!(split(&[&line]).len(), 1);
}

#[test]
fn the_ring_is_bounded_and_counts_what_nobody_saw() {
    let mut ring = Ring::default();
    let mut dropped = 0;
    for _ in 0..100 {
        dropped += ring.push(line(10_000));
        assert!(ring.bytes <= MAX_RING_BYTES);
    }
    assert_eq!(dropped, ring.first * 10_000);
}

#[test]
fn what_was_sent_is_not_counted_as_dropped() {
    let mut ring = Ring::default();
    let mut cursor = 0;
    for _ in 0..100 {
        assert_eq!(ring.push(line(10_000)), 0);
        assert!(ring.next(&mut cursor).is_some());
    }
    assert!(ring.next(&mut cursor).is_none());
    assert_eq!(ring.unsent, 100);
}

#[test]
fn a_slow_reader_goes_on_at_the_oldest_line() {
    let mut ring = Ring::default();
    let mut cursor = 0;
    for _ in 0..100 {
        ring.push(line(10_000));
    }
    let oldest = ring.first;
    assert!(ring.next(&mut cursor).is_some());
    assert_eq!(cursor, oldest + 1);
}

#[test]
fn empty_lines_fill_the_ring_too() {
    let mut ring = Ring::default();
    for _ in 0..100_000 {
        ring.push(line(0));
    }
    assert!(ring.lines.len() <= MAX_RING_BYTES / LINE_OVERHEAD_BYTES);
}

proptest! {
    /// However the bytes are cut, they all arrive, in order, in lines within the limit.
    #[test]
    fn nothing_is_lost(pieces in proptest::collection::vec(proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'a')], 0..9000), 0..8)) {
        let slices: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
        let lines = split(&slices);
        prop_assert!(lines.iter().all(|line| line.len() <= MAX_LOG_LINE_BYTES));
        let sent: Vec<u8> = pieces.concat().into_iter().filter(|byte| *byte != b'\n').collect();
        prop_assert_eq!(lines.concat(), sent);
    }
}
