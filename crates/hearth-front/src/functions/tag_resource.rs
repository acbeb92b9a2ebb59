//! `TagResource`: adds or replaces tags of a function.

use super::names::invalid;
use super::tagged::tagged;
use crate::fault::Fault;
use crate::lambda::Context;
use crate::model::lambda::TagResourceInput;

pub(super) async fn perform(context: &Context<'_>, input: TagResourceInput) -> Result<(), Fault> {
    let name = tagged(context, &input.resource)?;
    if input.tags.is_empty() {
        // Recorded (facts section 1.10).
        return Err(invalid(
            "An error occurred and the request cannot be processed.",
        ));
    }
    context
        .store(move |store, owner| store.tag(owner, &name, input.tags))
        .await
}
