//! `GET /hearth/v1/metrics`: all metrics, with the ids of microVMs.

use super::Context;
use crate::wire::Reply;

pub(super) async fn perform(context: &Context<'_>) -> Reply {
    context.page.answer_all().await
}
