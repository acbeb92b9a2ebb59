//! `InvokeAsync`: the old way to store an event.

use super::invoke::submit;
use super::invoking::{Invocations, Invoking};
use super::named::Named;
use super::request::{InvocationType, Request};
use crate::call::Call;
use crate::fault::Fault;
use crate::function_service::FunctionService;
use crate::wire::Reply;
use crate::wire::json::rest;

pub(super) async fn perform(
    functions: &FunctionService,
    invocations: &Invocations,
    mut call: Call,
) -> Result<Reply, Fault> {
    let named = Named::read(&call)?;
    named.authorize(&call, Invoking::InvokeAsync)?;
    let request = Request::read(&mut call, &[InvocationType::Event])?;
    let runnable = named.resolve(functions, request.tenant.clone()).await?;
    submit(invocations, &named, runnable, request, call.request_id).await?;
    Ok(rest(202, Some(&serde_json::json!({"Status": 202}))))
}
