//! `PUT .../files?path=&mode=&format=`: writes one regular file, atomically, or unpacks a tar archive into a
//! directory.

use bytes::Bytes;
use hearth_control::throttle::Rate;
use serde_json::json;
use tokio::io::AsyncRead;

use super::Context;
use super::guest_fault::guest_fault;
use super::query::{Format, guest_path, parameters};
use super::upload::Received;
use crate::call::Upload;
use crate::fault::Fault;
use crate::wire::Reply;
use crate::wire::json::rest;

/// File mode if the request sets none.
const DEFAULT_MODE: u32 = 0o644;

/// All mode bits, with set-user-id, set-group-id and sticky.
const MAX_MODE: u32 = 0o7777;

pub(super) async fn perform(
    context: &Context<'_>,
    body: Bytes,
    upload: Option<Upload>,
) -> Result<Reply, Fault> {
    let Some(upload) = upload else {
        return write(context, &mut body.as_ref()).await;
    };
    let (mut content, received) = Received::begin(upload);
    let written = write(context, &mut content).await;
    match received.fault() {
        Some(fault) => Err(fault),
        None => written,
    }
}

async fn write(
    context: &Context<'_>,
    content: &mut (dyn AsyncRead + Send + Unpin),
) -> Result<Reply, Fault> {
    context.throttle(Rate::OtherWrite)?;
    let [path, mode, format] = parameters(&context.query, ["path", "mode", "format"])?;
    let format = Format::read(format.as_deref())?;
    let path = guest_path(path, format)?;
    if mode.is_some() && format == Format::Tar {
        let text =
            "Parameter 'mode' has no place here: the archive has the permissions of each file";
        return Err(Fault::validation(text));
    }
    let mode = mode.map_or(Ok(DEFAULT_MODE), |mode| read_mode(&mode))?;
    let microvm = context.running_microvm().await?;
    let guests = context.guests();
    let written = match format {
        Format::File => guests.write_file(microvm.id, &path, mode, content).await,
        Format::Tar => guests.write_tree(microvm.id, &path, content).await,
    };
    let size_bytes = written.map_err(|error| guest_fault(&error))?;
    Ok(rest(
        200,
        Some(&json!({"path": path, "sizeInBytes": size_bytes})),
    ))
}

fn read_mode(mode: &str) -> Result<u32, Fault> {
    let bits = u32::from_str_radix(mode, 8).ok();
    bits.filter(|bits| *bits <= MAX_MODE).ok_or_else(|| {
        Fault::validation("Parameter 'mode' must be an octal number up to 7777, for example 0644")
    })
}
