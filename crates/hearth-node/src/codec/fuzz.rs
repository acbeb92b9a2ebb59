//! The body of the fuzz target `agent_frames`.

use hearth_wire::agent::{Chunk, ControlReply, ExecOutput, LogLine, OpenReply};
use hearth_wire::frame::{FrameError, PREFIX_BYTES};
use serde::de::DeserializeOwned;
use tokio::io::ReadBuf;

use super::read;

/// Reads what a hostile agent sends as messages of each kind. The first two bytes say how large one may be. Nothing behind a length
/// that is too large is read, and a length is believed only as far as it may be.
pub fn frames(input: &[u8]) {
    let Some((max, stream)) = input.split_first_chunk::<2>() else {
        return;
    };
    let max_bytes = usize::from(u16::from_le_bytes(*max));
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    // One that the machine cannot make says nothing about frames.
    let Ok(runtime) = runtime else { return };
    runtime.block_on(async {
        messages::<LogLine>(stream, max_bytes).await;
        messages::<Chunk>(stream, max_bytes).await;
        messages::<ExecOutput>(stream, max_bytes).await;
        messages::<OpenReply>(stream, max_bytes).await;
        messages::<ControlReply>(stream, max_bytes).await;
    });
}

async fn messages<T: DeserializeOwned>(stream: &[u8], max_bytes: usize) {
    let mut stream = Counted {
        bytes: stream,
        read: 0,
    };
    loop {
        let before = stream.read;
        let message = read::<T>(&mut stream, max_bytes).await;
        let taken = stream.read - before;
        assert!(
            taken <= PREFIX_BYTES + max_bytes,
            "{taken} bytes for a message of at most {max_bytes}"
        );
        match message {
            // A type may take no bytes at all, but its length does.
            Ok(_) => {}
            Err(FrameError::TooLarge(_)) => {
                assert_eq!(taken, PREFIX_BYTES, "what is too large is not read");
                return;
            }
            Err(_) => return,
        }
    }
}

/// A stream that counts what was read of it.
struct Counted<'a> {
    bytes: &'a [u8],
    read: usize,
}

impl tokio::io::AsyncRead for Counted<'_> {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        // In pieces, as streams come.
        let count = buffer.remaining().min(self.bytes.len()).min(7);
        let (piece, rest) = self.bytes.split_at(count);
        buffer.put_slice(piece);
        self.bytes = rest;
        self.read += count;
        std::task::Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn fuzz_agent_frames() {
        let words: &[&[u8]] = &[
            b"\0\0\0\0",
            b"\x01\0\0\0\0",
            b"\xff\xff\xff\xff",
            b"\0\0\x10\0",
            b"\xff\xff\x03",
        ];
        hearth_corpus::run("agent_frames", words, super::frames);
    }
}
