use proptest::prelude::*;

use super::*;

/// What is emitted: lines and parts of lines, and of each whether it ends a line.
fn parts(pieces: &[&[u8]]) -> Vec<(Vec<u8>, bool)> {
    let mut lines = Vec::new();
    let mut splitter = LineSplitter::default();
    for piece in pieces {
        splitter.push(piece, |line, ends| lines.push((line.to_vec(), ends)));
    }
    lines.extend(splitter.finish().map(|line| (line, true)));
    lines
}

fn split(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
    parts(pieces).into_iter().map(|(line, _)| line).collect()
}

fn line(bytes: usize) -> LogLine {
    LogLine {
        realtime_ns: 0,
        kind: LogLineKind::Stdout,
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
    let parts = parts(&[&long, b"\n", b"next\n"]);
    let lengths: Vec<_> = parts
        .iter()
        .map(|(line, ends)| (line.len(), *ends))
        .collect();
    let full = (MAX_LOG_LINE_BYTES, false);
    assert_eq!(lengths, [full, full, (1, true), (4, true)]);
}

#[test]
fn a_line_of_exactly_the_limit_is_one_line() {
    let mut line = vec![b'x'; MAX_LOG_LINE_BYTES];
    line.push(b'\n');
    assert_eq!(
        parts(&[&line]),
        [(line[..MAX_LOG_LINE_BYTES].to_vec(), true)]
    );
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
    let told = ring.next(&mut cursor).unwrap();
    let said = format!(
        "hearth: {oldest} lines of output ({} bytes) were lost here, because the application wrote them faster than they could be stored",
        oldest * 10_000
    );
    assert_eq!(
        (told.kind, told.bytes),
        (LogLineKind::Lost, said.into_bytes())
    );
    assert_eq!(ring.next(&mut cursor).unwrap(), line(10_000));
    assert_eq!(cursor, oldest + 1);
}

/// The bytes that are unsent decide whether the application waits.
#[test]
fn unsent_bytes_are_those_of_unsent_lines() {
    let mut ring = Ring::default();
    let (mut cursor, mut late) = (0, 0);
    for count in 1..100 {
        ring.push(line(count * 100));
        let unsent = ring.lines.range((ring.unsent - ring.first) as usize..);
        assert_eq!(ring.unsent_bytes, unsent.map(size).sum::<usize>());
        if count % 3 == 0 {
            ring.next(&mut cursor);
        }
        if count % 7 == 0 {
            ring.next(&mut late);
        }
    }
    assert!(ring.first > 0);
}

/// An application that writes faster than its host takes waits for it, and loses nothing.
#[tokio::test(start_paused = true)]
async fn an_application_waits_for_a_host_that_takes_lines() {
    let logs = Logs::default();
    let write = async {
        for _ in 0..200 {
            logs.add(line(10_000)).await;
        }
    };
    let take = async {
        let _open = OpenStream::new(&logs);
        let mut cursor = 0;
        while cursor < 200 {
            tokio::time::sleep(PATIENCE / 2).await;
            while logs.ring.borrow_mut().next(&mut cursor).is_some() {}
            logs.taken.notify_waiters();
        }
    };
    tokio::join!(take, write);
    assert_eq!(logs.dropped_bytes(), 0);
}

/// One that takes nothing keeps it waiting once, and one that is not there not at all.
#[tokio::test(start_paused = true)]
async fn an_application_does_not_wait_for_a_host_that_takes_nothing() {
    for (is_there, waited) in [(true, PATIENCE), (false, Duration::ZERO)] {
        let logs = Logs::default();
        let _open = is_there.then(|| OpenStream::new(&logs));
        let begun = tokio::time::Instant::now();
        for _ in 0..200 {
            logs.add(line(10_000)).await;
        }
        assert_eq!(begun.elapsed().as_secs(), waited.as_secs());
        assert!(logs.dropped_bytes() > 0);
    }
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
