//! The application's output: lines in a bounded ring buffer, which log streams follow.
//!
//! ```text
//! stdout --pipe--> LineSplitter --+                      +--> stream (cursor)
//!                                 +--> ring of lines ----+
//! stderr --pipe--> LineSplitter --+   oldest are dropped +--> stream (cursor)
//! ```
//!
//! Lines have numbers. A stream starts at the first line that no stream has sent yet, so that a host that connects
//! again (after a restore, or because its node was restarted) continues where it was. The ring never blocks the
//! application: if nobody reads, the oldest lines are dropped, and the bytes of unsent ones are counted.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use hearth_wire::agent::{LogLine, MAX_LOG_LINE_BYTES, OpenReply};
use hearth_wire::frame::FrameError;
use rustix::time::ClockId;
use tokio::sync::Notify;

use crate::bounds::Slots;
use crate::channel::Channel;
use crate::clock::clock_ns;

/// Capacity of the ring in bytes: some seconds of a verbose program, and small enough for the memory of every clone.
const MAX_RING_BYTES: usize = 256 << 10;

/// Bytes that a line counts for beside its text, so that empty lines fill the ring too.
const LINE_OVERHEAD_BYTES: usize = 64;

/// The output of the application.
#[derive(Debug, Default)]
pub(crate) struct Logs {
    ring: RefCell<Ring>,
    dropped_bytes: Cell<u64>,
    /// Whether the application has closed its output, and all of it is in the ring.
    is_closed: Cell<bool>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Ring {
    lines: VecDeque<LogLine>,
    bytes: usize,
    /// Number of the oldest line.
    first: u64,
    /// Number of the first line that no stream has sent.
    unsent: u64,
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
        loop {
            let is_end = output
                .read(|bytes| {
                    splitter.push(bytes, |line| self.add(line, is_stderr));
                    bytes.is_empty()
                })
                .await
                .unwrap_or(true);
            if is_end {
                break;
            }
            // An application that writes without pause must not keep the host waiting.
            tokio::task::yield_now().await;
        }
        splitter.finish(|line| self.add(line, is_stderr));
    }

    fn add(&self, bytes: &[u8], is_stderr: bool) {
        let line = LogLine {
            realtime_ns: clock_ns(ClockId::Realtime),
            is_stderr,
            bytes: bytes.to_vec(),
        };
        let dropped = self.ring.borrow_mut().push(line);
        self.dropped_bytes.set(self.dropped_bytes.get() + dropped);
        self.changed.notify_waiters();
    }
}

impl Ring {
    /// Adds a line. Answers the number of unsent bytes that were dropped for it.
    fn push(&mut self, line: LogLine) -> u64 {
        self.bytes += line.bytes.len() + LINE_OVERHEAD_BYTES;
        self.lines.push_back(line);
        let mut dropped = 0;
        while self.bytes > MAX_RING_BYTES {
            let Some(oldest) = self.lines.pop_front() else {
                break;
            };
            self.bytes -= oldest.bytes.len() + LINE_OVERHEAD_BYTES;
            if self.first >= self.unsent {
                dropped += oldest.bytes.len() as u64;
            }
            self.first += 1;
        }
        dropped
    }

    /// The line at `cursor`, or the oldest one if that was dropped. Moves the cursor behind it.
    fn next(&mut self, cursor: &mut u64) -> Option<LogLine> {
        *cursor = (*cursor).max(self.first);
        // The ring holds fewer lines than memory has bytes.
        let line = self.lines.get((*cursor - self.first) as usize)?.clone();
        *cursor += 1;
        self.unsent = self.unsent.max(*cursor);
        Some(line)
    }
}

/// Serves one log stream, which takes a place of `slots`, until the application has ended or the host closes it.
pub(crate) async fn serve(logs: &Logs, slots: &Slots, channel: &Channel) -> Result<(), FrameError> {
    let _slot = match slots.take() {
        Ok(slot) => slot,
        Err(refusal) => return channel.send(&OpenReply::Refused(refusal)).await,
    };
    channel.send(&OpenReply::Ok).await?;
    let mut cursor = logs.ring.borrow().unsent;
    loop {
        let changed = logs.changed.notified();
        let line = logs.ring.borrow_mut().next(&mut cursor);
        if let Some(line) = line {
            channel.send(&line).await?;
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

/// Splits bytes into lines, and lines that are too long into pieces.
#[derive(Debug, Default)]
struct LineSplitter {
    /// The beginning of a line whose end was not read yet.
    partial: Vec<u8>,
}

impl LineSplitter {
    fn push(&mut self, mut bytes: &[u8], mut emit: impl FnMut(&[u8])) {
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
                emit(&bytes[..taken]);
            } else {
                self.partial.extend(&bytes[..taken]);
                emit(&self.partial);
                self.partial = Vec::new();
            }
            bytes = &bytes[taken + usize::from(is_whole)..];
        }
    }

    /// Emits the last line, if it has no line end.
    fn finish(self, mut emit: impl FnMut(&[u8])) {
        if !self.partial.is_empty() {
            emit(&self.partial);
        }
    }
}

#[cfg(test)]
mod tests;
