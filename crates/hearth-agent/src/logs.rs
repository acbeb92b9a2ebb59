//! The application's output: lines in a bounded ring buffer, which log streams follow.
//!
//! ```text
//! stdout --pipe--> LineSplitter --+                      +--> stream (cursor)
//!                                 +--> ring of lines ----+
//! stderr --pipe--> LineSplitter --+   oldest are dropped +--> stream (cursor)
//! ```
//!
//! Lines have numbers. A stream starts at the first line that no stream has sent yet, so that a host that connects
//! again (after a restore, or because its node was restarted) continues where it was.
//!
//! An application that writes faster than its host reads waits in its pipe, as under Docker, while the host takes lines. A host that
//! takes none for a second, or is not there, keeps nobody waiting: the oldest lines are dropped, and a line at their place tells the
//! next host how much is missing.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::time::Duration;

use hearth_wire::agent::{LogLine, LogLineKind, MAX_LOG_LINE_BYTES, OpenReply};
use hearth_wire::frame::FrameError;
use rustix::time::ClockId;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::bounds::Slots;
use crate::channel::Channel;
use crate::clock::clock_ns;

/// Capacity of the ring in bytes: some seconds of a verbose program, and small enough for the memory of every clone.
const MAX_RING_BYTES: usize = 256 << 10;

/// Bytes that a line counts for beside its text, so that empty lines fill the ring too.
const LINE_OVERHEAD_BYTES: usize = 64;

/// A host that takes no line for so long does not keep the application waiting.
const PATIENCE: Duration = Duration::from_secs(1);

/// The output of the application.
#[derive(Debug, Default)]
pub(crate) struct Logs {
    ring: RefCell<Ring>,
    dropped_bytes: Cell<u64>,
    /// Whether the application has closed its output, and all of it is in the ring.
    is_closed: Cell<bool>,
    changed: Notify,
    /// Streams that are open.
    streams: Cell<usize>,
    /// Whether no stream has taken a line since the application waited for that in vain.
    is_stuck: Cell<bool>,
    taken: Notify,
}

#[derive(Debug, Default)]
struct Ring {
    lines: VecDeque<LogLine>,
    bytes: usize,
    /// Number of the oldest line.
    first: u64,
    /// Number of the first line that no stream has sent.
    unsent: u64,
    /// Bytes of the lines that no stream has sent.
    unsent_bytes: usize,
    /// What was dropped since a stream has sent a line.
    lost: Lost,
}

/// Unsent lines that were dropped.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Lost {
    lines: u64,
    bytes: u64,
}

impl Lost {
    /// What is said of them, at the time of the line behind them.
    fn told(self, realtime_ns: u64) -> LogLine {
        let Self { lines, bytes } = self;
        let text = format!(
            "hearth: {lines} lines of output ({bytes} bytes) were lost here, because the application wrote them faster than they could be stored"
        );
        LogLine {
            realtime_ns,
            kind: LogLineKind::Lost,
            bytes: text.into_bytes(),
        }
    }
}

impl Logs {
    /// Bytes that were dropped before any stream had sent them.
    pub(crate) fn dropped_bytes(&self) -> u64 {
        self.dropped_bytes.get()
    }

    /// Reads stdout and stderr of the application to their ends. Then all log streams end, once they have sent the
    /// lines that are left.
    pub(crate) async fn collect_all(&self, stdout: &Channel, stderr: &Channel) {
        tokio::join!(self.collect(stdout, false), self.collect(stderr, true));
        self.is_closed.set(true);
        self.changed.notify_waiters();
    }

    async fn collect(&self, output: &Channel, is_stderr: bool) {
        let mut splitter = LineSplitter::default();
        let mut lines = Vec::new();
        let line = |bytes: &[u8], ends| LogLine {
            realtime_ns: clock_ns(ClockId::Realtime),
            kind: LogLineKind::new(is_stderr, ends),
            bytes: bytes.to_vec(),
        };
        loop {
            let is_end = output
                .read(|bytes| {
                    splitter.push(bytes, |bytes, ends| lines.push(line(bytes, ends)));
                    bytes.is_empty()
                })
                .await
                .unwrap_or(true);
            for line in lines.drain(..) {
                self.add(line).await;
            }
            if is_end {
                break;
            }
            // An application that writes without pause must not keep the host waiting.
            tokio::task::yield_now().await;
        }
        if let Some(rest) = splitter.finish() {
            self.add(line(&rest, true)).await;
        }
    }

    async fn add(&self, line: LogLine) {
        self.wait_for_room(&line).await;
        let dropped = self.ring.borrow_mut().push(line);
        self.dropped_bytes.set(self.dropped_bytes.get() + dropped);
        self.changed.notify_waiters();
    }

    /// Waits until the ring has room for a line beside all that no stream has sent, if a host takes lines.
    async fn wait_for_room(&self, line: &LogLine) {
        loop {
            let taken = self.taken.notified();
            let has_room = self.ring.borrow().unsent_bytes + size(line) <= MAX_RING_BYTES;
            if has_room || self.streams.get() == 0 || self.is_stuck.get() {
                return;
            }
            if timeout(PATIENCE, taken).await.is_err() {
                self.is_stuck.set(true);
            }
        }
    }
}

/// What a line takes of the ring.
fn size(line: &LogLine) -> usize {
    line.bytes.len() + LINE_OVERHEAD_BYTES
}

impl Ring {
    /// Adds a line. Answers the number of unsent bytes that were dropped for it.
    fn push(&mut self, line: LogLine) -> u64 {
        self.bytes += size(&line);
        self.unsent_bytes += size(&line);
        self.lines.push_back(line);
        let mut dropped = 0;
        while self.bytes > MAX_RING_BYTES {
            let Some(oldest) = self.lines.pop_front() else {
                break;
            };
            self.bytes -= size(&oldest);
            if self.first >= self.unsent {
                self.unsent_bytes -= size(&oldest);
                self.unsent = self.first + 1;
                self.lost.lines += 1;
                dropped += oldest.bytes.len() as u64;
            }
            self.first += 1;
        }
        self.lost.bytes += dropped;
        dropped
    }

    /// The line at `cursor`, or the oldest one if that was dropped. Moves the cursor behind it. Where lines were dropped that no
    /// stream had sent, first a line that says so.
    fn next(&mut self, cursor: &mut u64) -> Option<LogLine> {
        *cursor = (*cursor).max(self.first);
        // The ring holds fewer lines than memory has bytes.
        let line = self.lines.get((*cursor - self.first) as usize)?;
        if *cursor >= self.unsent && self.lost != Lost::default() {
            return Some(std::mem::take(&mut self.lost).told(line.realtime_ns));
        }
        *cursor += 1;
        if *cursor > self.unsent {
            self.unsent = *cursor;
            self.unsent_bytes -= size(line);
        }
        Some(line.clone())
    }
}

/// Serves one log stream, which takes a place of `slots`, until the application has ended or the host closes it.
pub(crate) async fn serve(logs: &Logs, slots: &Slots, channel: &Channel) -> Result<(), FrameError> {
    let _slot = match slots.take() {
        Ok(slot) => slot,
        Err(refusal) => return channel.send(&OpenReply::Refused(refusal)).await,
    };
    channel.send(&OpenReply::Ok).await?;
    let _open = OpenStream::new(logs);
    let mut cursor = logs.ring.borrow().unsent;
    loop {
        let changed = logs.changed.notified();
        let line = logs.ring.borrow_mut().next(&mut cursor);
        if let Some(line) = line {
            channel.send(&line).await?;
            logs.is_stuck.set(false);
            logs.taken.notify_waiters();
            continue;
        }
        if logs.is_closed.get() {
            return Ok(());
        }
        tokio::select! {
            () = changed => {}
            // The host sends nothing here; what ends is the stream.
            _ = channel.read(|_| ()) => return Ok(()),
        }
    }
}

/// A stream that is open until this is dropped.
struct OpenStream<'a>(&'a Logs);

impl<'a> OpenStream<'a> {
    fn new(logs: &'a Logs) -> Self {
        logs.streams.set(logs.streams.get() + 1);
        logs.is_stuck.set(false);
        Self(logs)
    }
}

impl Drop for OpenStream<'_> {
    fn drop(&mut self) {
        self.0.streams.set(self.0.streams.get() - 1);
        // Whoever waits for this one waits for nothing now.
        self.0.taken.notify_waiters();
    }
}

/// Splits bytes into lines, and lines that are too long into parts.
#[derive(Debug, Default)]
struct LineSplitter {
    /// The beginning of a line whose end was not read yet.
    partial: Vec<u8>,
}

impl LineSplitter {
    /// Emits lines and parts of lines; of each whether its line ends there.
    fn push(&mut self, mut bytes: &[u8], mut emit: impl FnMut(&[u8], bool)) {
        while !bytes.is_empty() {
            let room = MAX_LOG_LINE_BYTES - self.partial.len();
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let is_whole = end.is_some_and(|end| end <= room);
            let taken = match end {
                Some(end) if is_whole => end,
                _ => bytes.len().min(room),
            };
            let is_full = is_whole || self.partial.len() + taken == MAX_LOG_LINE_BYTES;
            if !is_full {
                self.partial.extend(&bytes[..taken]);
                return;
            }
            if self.partial.is_empty() {
                emit(&bytes[..taken], is_whole);
            } else {
                self.partial.extend(&bytes[..taken]);
                emit(&self.partial, is_whole);
                self.partial = Vec::new();
            }
            bytes = &bytes[taken + usize::from(is_whole)..];
        }
    }

    /// The last line, if it has no line end.
    fn finish(self) -> Option<Vec<u8>> {
        (!self.partial.is_empty()).then_some(self.partial)
    }
}

#[cfg(test)]
mod tests;
