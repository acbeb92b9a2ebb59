//! Sends requests byte by byte that no HTTP client would send.

use std::time::Duration;

use hearth_client::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};

/// Longest wait for an answer, also in the emulated host.
const ANSWER_TIME: Duration = Duration::from_secs(20);

/// Longest time for which a body is sent.
const POUR_TIME: Duration = Duration::from_secs(60);

/// Most bytes that are read of an answer.
const MAX_ANSWER_BYTES: u64 = 1 << 20;

/// Sends a request. Returns all bytes that the other side sends until it closes the connection or [`ANSWER_TIME`] is
/// over. A failure to send counts as a refusal.
pub(super) async fn say(stream: &mut dyn Stream, request: &[u8]) -> String {
    let _ = stream.write_all(request).await;
    hear(stream, ANSWER_TIME).await
}

/// All bytes that the other side sends until it closes the connection or `time` is over.
pub(super) async fn hear(stream: &mut dyn Stream, time: Duration) -> String {
    let mut answer = Vec::new();
    // What came until the time was over counts.
    let _ = timeout(time, stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// The status in the first line of an answer.
pub(super) fn status(answer: &str) -> Option<u16> {
    let line = answer.strip_prefix("HTTP/1.1 ")?;
    line.get(..3)?.parse().ok()
}

/// Whether an answer is a success.
pub(super) fn is_good(answer: &str) -> bool {
    status(answer).is_some_and(|status| status < 300)
}

/// Sends a body, piece by piece, until an answer comes, it is not accepted any more, or all of it is sent. Returns the
/// number of bytes that were accepted before any answer.
pub(super) async fn pour(
    stream: Box<dyn Stream>,
    head: &str,
    piece: &[u8],
    total_bytes: usize,
) -> usize {
    let (mut from, mut to) = tokio::io::split(stream);
    let mut first = [0; 1];
    let mut taken_bytes = 0;
    let pouring = async {
        to.write_all(head.as_bytes()).await?;
        while taken_bytes < total_bytes {
            to.write_all(piece).await?;
            taken_bytes += piece.len();
        }
        to.flush().await
    };
    let _ = timeout_at(Instant::now() + POUR_TIME, async {
        tokio::select! {
            biased;
            _ = from.read(&mut first) => {}
            _ = pouring => {}
        }
    })
    .await;
    taken_bytes
}
