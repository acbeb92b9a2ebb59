//! Puts lines of output together that came in parts. One line is one event, up to the size that CloudWatch Logs takes.

use hearth_logs::{MAX_MESSAGE_BYTES, NewEvent};
use hearth_wire::agent::{LogLine, LogLineKind};
use tokio::sync::OwnedSemaphorePermit;

/// The room that a line takes until it is written: of its instance, and of all.
pub(crate) type Room = (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>);

/// A line that is complete, or was cut.
#[derive(Debug)]
pub(crate) struct WholeLine {
    realtime_ns: u64,
    bytes: Vec<u8>,
    room: Room,
}

impl WholeLine {
    fn new(line: LogLine, room: Room) -> Self {
        let LogLine {
            realtime_ns, bytes, ..
        } = line;
        Self {
            realtime_ns,
            bytes,
            room,
        }
    }

    fn add(&mut self, part: &LogLine, (own, of_all): Room) {
        self.bytes.extend_from_slice(&part.bytes);
        self.room.0.merge(own);
        match (&mut self.room.1, of_all) {
            (Some(mine), Some(more)) => mine.merge(more),
            (mine, more) => *mine = mine.take().or(more),
        }
    }

    /// Output is bytes, log events are text.
    pub(crate) fn event(&self) -> NewEvent {
        NewEvent {
            time_ms: i64::try_from(self.realtime_ns / 1_000_000).unwrap_or(i64::MAX),
            message: text(&self.bytes),
        }
    }
}

/// Replacement characters are longer than what they replace, and an event must not become longer than an event may be.
fn text(bytes: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(bytes).into_owned();
    let end = text.floor_char_boundary(MAX_MESSAGE_BYTES);
    text.truncate(end);
    text
}

/// Lines of stdout and stderr of which only the beginning has come.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    stdout: Option<WholeLine>,
    stderr: Option<WholeLine>,
}

impl Parts {
    pub(crate) fn is_empty(&self) -> bool {
        self.stdout.is_none() && self.stderr.is_none()
    }

    /// Takes a line or a part of one. Returns the lines that are whole then, or have to be cut.
    pub(crate) fn put(&mut self, line: LogLine, room: Room) -> Vec<WholeLine> {
        let (begun, ends) = match line.kind {
            LogLineKind::Stdout => (&mut self.stdout, true),
            LogLineKind::Stderr => (&mut self.stderr, true),
            LogLineKind::StdoutPart => (&mut self.stdout, false),
            LogLineKind::StderrPart => (&mut self.stderr, false),
            // What was begun may have lost its middle.
            LogLineKind::Lost => {
                let mut lines = self.cut();
                lines.push(WholeLine::new(line, room));
                return lines;
            }
        };
        let mut lines = Vec::new();
        let length = begun.as_ref().map_or(0, |begun| begun.bytes.len());
        if length + line.bytes.len() > MAX_MESSAGE_BYTES {
            lines.extend(begun.take());
        }
        match begun {
            Some(begun) => begun.add(&line, room),
            None => *begun = Some(WholeLine::new(line, room)),
        }
        if ends {
            lines.extend(begun.take());
        }
        lines
    }

    /// What was begun, as it is.
    pub(crate) fn cut(&mut self) -> Vec<WholeLine> {
        let mut lines: Vec<_> = [self.stdout.take(), self.stderr.take()]
            .into_iter()
            .flatten()
            .collect();
        lines.sort_by_key(|line| line.realtime_ns);
        lines
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;

    use super::*;

    struct Reader {
        parts: Parts,
        room: Arc<Semaphore>,
    }

    impl Reader {
        fn new() -> Self {
            Self {
                parts: Parts::default(),
                room: Arc::new(Semaphore::new(10 << 20)),
            }
        }

        fn put(&mut self, kind: LogLineKind, text: &str) -> Vec<String> {
            let permit = |bytes: usize| {
                let room = Arc::clone(&self.room).try_acquire_many_owned(bytes as u32);
                room.unwrap()
            };
            let line = LogLine {
                realtime_ns: 0,
                kind,
                bytes: text.as_bytes().to_vec(),
            };
            let room = (permit(text.len()), Some(permit(text.len())));
            let lines = self.parts.put(line, room);
            lines.iter().map(|line| line.event().message).collect()
        }
    }

    #[test]
    fn parts_of_two_outputs_do_not_mix() {
        use LogLineKind::*;
        let mut reader = Reader::new();
        assert!(reader.put(StdoutPart, "out 1, ").is_empty());
        assert!(reader.put(StderrPart, "err 1, ").is_empty());
        assert!(reader.put(StdoutPart, "out 2, ").is_empty());
        assert_eq!(reader.put(Stderr, "err 2"), ["err 1, err 2"]);
        assert_eq!(reader.put(Stderr, "err 3"), ["err 3"]);
        assert_eq!(reader.put(Stdout, ""), ["out 1, out 2, "]);
        assert!(reader.parts.is_empty());
        assert_eq!(reader.room.available_permits(), 10 << 20);
    }

    #[test]
    fn a_gap_ends_what_was_begun() {
        use LogLineKind::*;
        let mut reader = Reader::new();
        reader.put(StdoutPart, "begun");
        assert_eq!(
            reader.put(Lost, "3 lines were lost"),
            ["begun", "3 lines were lost"]
        );
        assert_eq!(reader.put(Stdout, "the rest"), ["the rest"]);
    }

    /// Case 26: one line of 40 KB became three events.
    #[test]
    fn a_line_is_one_event_up_to_the_largest() {
        use LogLineKind::*;
        let mut reader = Reader::new();
        let part = "x".repeat(16 << 10);
        let whole = MAX_MESSAGE_BYTES / part.len();
        for _ in 0..whole {
            assert!(reader.put(StdoutPart, &part).is_empty());
        }
        let rest = "y".repeat(MAX_MESSAGE_BYTES % part.len());
        let events = reader.put(Stdout, &rest);
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].len(), MAX_MESSAGE_BYTES);
        // A byte more is another event, and nothing is lost.
        for _ in 0..whole {
            reader.put(StdoutPart, &part);
        }
        let lengths: Vec<_> = reader
            .put(Stdout, &format!("{rest}z"))
            .iter()
            .map(String::len)
            .collect();
        assert_eq!(lengths, [whole * part.len(), rest.len() + 1]);
    }

    #[test]
    fn what_is_no_text_stays_within_the_largest_event() {
        assert_eq!(text(b"a\xffb"), "a\u{fffd}b");
        assert!(text(&vec![0xff; MAX_MESSAGE_BYTES]).len() <= MAX_MESSAGE_BYTES);
    }
}
