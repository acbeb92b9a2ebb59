//! `POST /hearth/v1/images/{name}/cancel-build`: cancels the build of an image that waits or works.
//!
//! The version has failed then, so that the image can be changed and deleted, which AWS refuses during a build.

use hearth_control::arn::ImageArn;
use hearth_control::throttle::Rate;
use serde_json::json;

use super::Context;
use crate::aws_strings::Word as _;
use crate::fault::Fault;
use crate::lambda::refusal;
use crate::wire::Reply;
use crate::wire::json::rest;

pub(super) async fn perform(context: &Context<'_>) -> Result<Reply, Fault> {
    context.throttle(Rate::OtherWrite)?;
    let scope = &context.caller.scope;
    let name = context.named.parse().map_err(|_| {
        let text = format!("There is no image {}", context.named);
        Fault::new(404, "ResourceNotFoundException", text)
    })?;
    let arn = ImageArn {
        scope: scope.clone(),
        name,
    };
    let cancelled = context.operations.control.cancel_build(scope, &arn).await;
    let image = cancelled.map_err(refusal::outside_lambda)?;
    let answer = json!({"imageIdentifier": arn.to_string(), "state": image.state.text()});
    Ok(rest(200, Some(&answer)))
}
