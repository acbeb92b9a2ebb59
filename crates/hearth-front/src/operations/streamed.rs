//! An answer whose body is streamed from a task.

use bytes::Bytes;
use futures_util::stream::unfold;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::sync::mpsc;

use crate::wire::{Reply, reply};

/// Answers with the pieces until their sender is dropped. A client that disconnects drops the receiver.
pub(super) fn streamed(content_type: &'static str, pieces: mpsc::Receiver<Bytes>) -> Reply {
    let frames = unfold(pieces, |mut pieces| async {
        let piece = pieces.recv().await?;
        Some((Ok(Frame::data(piece)), pieces))
    });
    let mut answer = reply(200, content_type, "");
    *answer.body_mut() = StreamBody::new(frames).boxed_unsync();
    answer
}
