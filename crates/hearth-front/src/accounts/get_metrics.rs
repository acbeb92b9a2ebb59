//! `GET /hearth/v1/metrics`: everything that is measured, with the ids of microVMs.

use super::Context;
use crate::wire::Reply;

pub(super) async fn perform(context: &Context<'_>) -> Reply {
    context.page.answer_all().await
}
