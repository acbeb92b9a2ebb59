//! `GET .../files?path=&format=`: returns the bytes of one regular file, or a directory as a tar archive.
//!
//! If reading fails midway, the connection ends without the end of the body, so that no client takes a partial file
//! for a whole one.

use futures_util::TryStreamExt;
use hearth_control::throttle::Rate;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};

use super::Context;
use super::guest_fault::guest_fault;
use super::query::{Format, guest_path, parameters};
use crate::fault::Fault;
use crate::wire::{BodyError, Reply, reply};

pub(super) async fn perform(context: &Context<'_>) -> Result<Reply, Fault> {
    context.throttle(Rate::OtherRead)?;
    let [path, format] = parameters(&context.query, ["path", "format"])?;
    let format = Format::read(format.as_deref())?;
    let path = guest_path(path, format)?;
    let microvm = context.running_microvm().await?;
    let guests = context.guests();
    let (content, content_type) = match format {
        Format::File => (
            guests.read_file(microvm.id, &path).await,
            "application/octet-stream",
        ),
        Format::Tar => (
            guests.read_tree(microvm.id, &path).await,
            "application/x-tar",
        ),
    };
    let content = content.map_err(|error| guest_fault(&error))?;
    let frames = content.map_ok(Frame::data).map_err(BodyError::from);
    let mut answer = reply(200, content_type, "");
    *answer.body_mut() = StreamBody::new(frames).boxed_unsync();
    Ok(answer)
}
