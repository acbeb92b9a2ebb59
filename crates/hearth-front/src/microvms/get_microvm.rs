//! `GetMicrovm`: one microVM, TERMINATED ones included.

use serde::Deserialize;
use serde_json::Value;

use super::identifiers::microvm_id;
use super::shape;
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
    let microvm = context.control.microvm(context.scope(), id).await;
    let microvm = microvm.map_err(|error| context.refused(error))?;
    Ok(Answer::Json(shape::microvm(&microvm)))
}
