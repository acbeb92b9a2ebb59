//! `SuspendMicrovm`: idempotent; the state follows.

use serde::Deserialize;
use serde_json::{Value, json};

use super::identifiers::microvm_id;
use crate::fault::Fault;
use crate::lambda::fields::read;
use crate::lambda::{Answer, Context};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    microvm_identifier: String,
}

pub(super) async fn perform(context: &Context<'_>, input: Value) -> Result<Answer, Fault> {
    let request: Request = read(input)?;
    let id = microvm_id(&request.microvm_identifier)?;
    let done = context.control.suspend_microvm(context.scope(), id).await;
    done.map_err(|error| context.refused(error))?;
    Ok(Answer::Json(json!({})))
}
