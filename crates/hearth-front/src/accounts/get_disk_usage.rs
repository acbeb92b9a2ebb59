//! `GET /hearth/v1/disk-usage`: what takes how much of the host's disks.

use serde_json::{Value, json};

use super::Context;
use crate::disks::Holding;
use crate::fault::Fault;
use crate::wire::Reply;
use crate::wire::json::rest;

pub(super) async fn perform(context: &Context<'_>) -> Result<Reply, Fault> {
    let mut holdings = context.disks.holdings().await.map_err(|cause| {
        tracing::error!(cause, "the disks cannot be read");
        Fault::new(500, "InternalServerException", "The disks cannot be read.")
    })?;
    holdings.sort_by(|a, b| (a.kind, &a.name, &a.version).cmp(&(b.kind, &b.name, &b.version)));
    let total: u64 = holdings.iter().map(|holding| holding.bytes).sum();
    let shown: Vec<Value> = holdings.iter().map(shape).collect();
    let answer = json!({"holdings": shown, "totalSizeInBytes": total});
    Ok(rest(200, Some(&answer)))
}

fn shape(holding: &Holding) -> Value {
    json!({
        "kind": holding.kind.word(),
        "name": holding.name,
        "imageVersion": holding.version,
        "guestBase": holding.guest_base,
        "baseImages": holding.base_images,
        "current": holding.is_current,
        "sizeInBytes": holding.bytes,
    })
}
