//! `POST .../fork`: creates a second microVM that begins as a copy of this one.

use std::time::Duration;

use hearth_control::id::MicrovmId;
use hearth_control::microvm::{ForkMicrovm, Microvm};
use hearth_control::request::RequestDigest;
use hearth_control::throttle::Rate;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Context;
use crate::fault::Fault;
use crate::lambda::canonical::{self, request_token};
use crate::lambda::refusal;
use crate::microvms::shape;
use crate::model::Input;
use crate::model::lambda_microvms::GetMicrovmOutput;
use crate::wire::Reply;
use crate::wire::json::rest;

/// Longest maximum duration of a microVM, in seconds, as in `RunMicrovm`.
const MAX_DURATION_S: u64 = 28_800;

/// Longest client token, as in `RunMicrovm`.
const MAX_TOKEN_CHARS: usize = 128;

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Request {
    maximum_duration_in_seconds: Option<u64>,
    client_token: Option<String>,
}

pub(super) async fn perform(context: &Context<'_>, body: &[u8]) -> Result<Reply, Fault> {
    context.throttle(Rate::Run)?;
    let request = read(body)?;
    let parent = context.microvm().await?.id;
    let request = ForkMicrovm {
        max_duration: request.maximum_duration_in_seconds.map(Duration::from_secs),
        client_token: request_token(request.client_token, digest(parent, body)?),
    };
    let control = &context.operations.control;
    let forked = control.fork_microvm(&context.caller.scope, parent, request);
    let child = forked.await.map_err(refusal::outside_lambda)?;
    Ok(rest(200, Some(&answer(parent, &child)?)))
}

/// The answer of `RunMicrovm`, and the parent.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ForkAnswer {
    #[serde(flatten)]
    child: GetMicrovmOutput,
    parent_microvm_id: String,
}

fn answer(parent: MicrovmId, child: &Microvm) -> Result<Value, Fault> {
    let answer = ForkAnswer {
        child: shape::microvm(child),
        parent_microvm_id: parent.to_string(),
    };
    serde_json::to_value(answer).map_err(|error| Fault::internal(&error))
}

fn invalid(cause: &str) -> Fault {
    Fault::validation(format!("Invalid request: {cause}"))
}

fn parse<T: Default + DeserializeOwned>(body: &[u8]) -> Result<T, Fault> {
    match body {
        [] => Ok(T::default()),
        body => serde_json::from_slice(body).map_err(|error| invalid(&error.to_string())),
    }
}

/// The digest that tells this request from others with its client token: of the body and the parent.
fn digest(parent: MicrovmId, body: &[u8]) -> Result<RequestDigest, Fault> {
    let mut input: Input = parse(body)?;
    input.insert("microvmIdentifier".to_owned(), parent.to_string().into());
    Ok(canonical::digest(&input))
}

fn read(body: &[u8]) -> Result<Request, Fault> {
    let request: Request = parse(body)?;
    let seconds = request.maximum_duration_in_seconds;
    if seconds.is_some_and(|seconds| !(1..=MAX_DURATION_S).contains(&seconds)) {
        return Err(invalid(&format!(
            "`maximumDurationInSeconds` must be between 1 and {MAX_DURATION_S}"
        )));
    }
    let chars = |token: &String| token.chars().count();
    if (request.client_token.as_ref().map(chars))
        .is_some_and(|chars| !(1..=MAX_TOKEN_CHARS).contains(&chars))
    {
        return Err(invalid(&format!(
            "`clientToken` must have 1 to {MAX_TOKEN_CHARS} characters"
        )));
    }
    Ok(request)
}
