//! A second check of where HTTP/1.1 requests begin and end.
//!
//! Request smuggling needs two parties that read one message in two ways. If a request has both a length and chunks,
//! hyper picks one (RFC 9112 section 6.3 allows it) without an error. It frames the forwarded request anew, so that
//! is harmless here. But no honest client sends such a request: its sender is looking for a way around the endpoint.
//! So every head is parsed as it arrives, and an ambiguous request is refused.
//!
//! ```text
//! Head -- length --> Sized(n) --> Head
//!      \- chunked -> ChunkSize --> ChunkData(n) --> ChunkSize ... 0 --> Trailers --> Head
//! ```
//!
//! Bodies are skipped, so this costs one look at each byte of the heads.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that are kept of a line. Lengths, encodings and chunk sizes are far shorter; of other lines only the name
/// matters.
const MAX_LINE_BYTES: usize = 256;

/// A stream whose requests are checked.
pub(crate) struct Watched<S> {
    inner: S,
    framing: Framing,
    malformed: Arc<AtomicBool>,
    upgraded: Arc<AtomicBool>,
}

impl<S> Watched<S> {
    /// Sets `malformed` as soon as a request is ambiguous. Once `upgraded` is set, the stream is no longer HTTP.
    pub(crate) fn new(inner: S, malformed: Arc<AtomicBool>, upgraded: Arc<AtomicBool>) -> Self {
        Self {
            inner,
            framing: Framing::default(),
            malformed,
            upgraded,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.inner).poll_read(cx, buffer);
        if self.upgraded.load(Ordering::Acquire) {
            self.framing.state = State::Over;
        }
        self.framing.advance(&buffer.filled()[before..]);
        if self.framing.state == State::Malformed {
            self.malformed.store(true, Ordering::Release);
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

/// The position of the client in the stream of requests.
#[derive(Default)]
struct Framing {
    state: State,
    line: Line,
    head: Head,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Head,
    Sized(u64),
    ChunkSize,
    ChunkData(u64),
    Trailers,
    /// A request is ambiguous. Nothing after it is parsed.
    Malformed,
    /// The connection was upgraded.
    Over,
}

/// What the current head has said so far.
#[derive(Debug, Default, Clone, Copy)]
struct Head {
    has_request_line: bool,
    length: Option<u64>,
    is_chunked: bool,
}

/// The beginning of the current line.
#[derive(Default)]
struct Line {
    kept: Vec<u8>,
    is_cut: bool,
}

impl Framing {
    fn advance(&mut self, mut input: &[u8]) {
        while !input.is_empty() {
            let used = match &mut self.state {
                State::Malformed | State::Over => return,
                State::Sized(left) | State::ChunkData(left) => {
                    let used = usize::try_from(*left)
                        .unwrap_or(usize::MAX)
                        .min(input.len());
                    *left -= used as u64;
                    used
                }
                State::Head | State::ChunkSize | State::Trailers => self.line.take(input),
            };
            let ended_line = input[..used].last() == Some(&b'\n');
            input = &input[used..];
            self.state = match self.state {
                State::Sized(0) => State::Head,
                State::ChunkData(0) => State::ChunkSize,
                State::Head | State::ChunkSize | State::Trailers if ended_line => self.end_line(),
                same => same,
            };
        }
    }

    /// Handles the line that has just ended.
    fn end_line(&mut self) -> State {
        let line = std::mem::take(&mut self.line);
        let text = line.kept.trim_ascii_end();
        match self.state {
            State::Head if text.is_empty() && !line.is_cut => self.end_head(),
            State::Head if !self.head.has_request_line => {
                self.head.has_request_line = true;
                State::Head
            }
            State::Head if self.head.read(&line).is_none() => State::Malformed,
            State::ChunkSize => match chunk_size(text).filter(|_| !line.is_cut) {
                None => State::Malformed,
                Some(0) => State::Trailers,
                // Includes the line end after the data.
                Some(size) => State::ChunkData(size.saturating_add(2)),
            },
            State::Trailers if text.is_empty() && !line.is_cut => State::Head,
            same => same,
        }
    }

    fn end_head(&mut self) -> State {
        let head = std::mem::take(&mut self.head);
        match (head.length, head.is_chunked) {
            (Some(_), true) => State::Malformed,
            (None, true) => State::ChunkSize,
            (Some(length), false) if length > 0 => State::Sized(length),
            // Also for empty lines before a request, which RFC 9112 section 2.2 allows.
            _ => State::Head,
        }
    }
}

impl Head {
    /// Handles a header line. `None` if it makes the framing ambiguous.
    fn read(&mut self, line: &Line) -> Option<()> {
        // A continued line (obs-fold) begins with a blank. A name must not end with one.
        let colon = line.kept.iter().position(|&byte| byte == b':');
        let Some(colon) = colon else {
            // A name longer than what is kept does not matter for framing.
            return line.is_cut.then_some(());
        };
        let (name, value) = (&line.kept[..colon], &line.kept[colon + 1..]);
        if name.first().is_none_or(u8::is_ascii_whitespace)
            || name.last().is_none_or(u8::is_ascii_whitespace)
        {
            return None;
        }
        let value = value.trim_ascii();
        if name.eq_ignore_ascii_case(b"content-length") {
            let is_second = self
                .length
                .replace(length(value).filter(|_| !line.is_cut)?)
                .is_some();
            return (!is_second).then_some(());
        }
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            let is_plain = value.eq_ignore_ascii_case(b"chunked") && !line.is_cut;
            let is_second = std::mem::replace(&mut self.is_chunked, true);
            return (is_plain && !is_second).then_some(());
        }
        Some(())
    }
}

impl Line {
    /// Takes bytes up to and including the line end. Returns how many.
    fn take(&mut self, input: &[u8]) -> usize {
        let end = input.iter().position(|&byte| byte == b'\n');
        let used = end.map_or(input.len(), |end| end + 1);
        let room = MAX_LINE_BYTES - self.kept.len();
        self.kept.extend_from_slice(&input[..used.min(room)]);
        self.is_cut |= used > room;
        used
    }
}

fn length(value: &[u8]) -> Option<u64> {
    let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    if is_number {
        std::str::from_utf8(value).ok()?.parse().ok()
    } else {
        None
    }
}

/// The size, without chunk extensions (RFC 9112 section 7.1).
fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.split(|&byte| byte == b';').next()?.trim_ascii_end();
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
    if is_number {
        u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
