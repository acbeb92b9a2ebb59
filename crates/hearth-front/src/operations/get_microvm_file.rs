//! `GET .../files?path=&format=`: the bytes of one regular file, as the guest reads them, or a directory as a tar archive.
//!
//! A file that cannot be read to its end ends the connection without the end of the body, so that no client takes a part
//! of it for all of it.

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
