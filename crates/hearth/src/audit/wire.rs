//! Requests byte by byte, for what no client of HTTP sends.

use std::time::Duration;

use hearth_client::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};

/// How long an answer may take, in the emulated host too.
const ANSWER_TIME: Duration = Duration::from_secs(20);

/// How long a body is offered.
const POUR_TIME: Duration = Duration::from_secs(60);

/// What is read of an answer at most.
const MAX_ANSWER_BYTES: u64 = 1 << 20;

/// Says this, and answers all that is said until the other side ends the connection or falls silent. What cannot be said any more was
/// refused.
pub(super) async fn say(stream: &mut dyn Stream, request: &[u8]) -> String {
    let _ = stream.write_all(request).await;
    hear(stream, ANSWER_TIME).await
}

/// All that is said until the other side ends the connection, or this time is over.
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

/// Whether an answer is one that gives what was asked for.
pub(super) fn is_good(answer: &str) -> bool {
    status(answer).is_some_and(|status| status < 300)
}

/// Offers a body, piece by piece, until it is answered, not taken any more, or all of it is gone. Answers the bytes that were taken
/// before anything was answered.
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
