//! `RunMicrovm`: launches a microVM; it is PENDING when the answer comes.

use std::time::Duration;

use hearth_control::arn::ImageArn;
use hearth_control::id::VersionNumber;
use hearth_control::image::ClientToken;
use hearth_control::microvm::{IdlePolicy, RunHookPayload, RunMicrovm};
use serde::Deserialize;
use serde_json::Value;

use super::identifiers::{connectors, launchable_arn};
use super::image_spec::LoggingRequest;
use super::shape;
use crate::fault::Fault;
use crate::lambda::fields::read;
use crate::lambda::{Answer, Context, refusal};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    image_identifier: String,
    image_version: Option<String>,
    execution_role_arn: Option<String>,
    idle_policy: Option<IdleRequest>,
    maximum_duration_in_seconds: Option<u64>,
    ingress_network_connectors: Option<Vec<String>>,
    egress_network_connectors: Option<Vec<String>>,
    logging: Option<LoggingRequest>,
    run_hook_payload: Option<String>,
    client_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct IdleRequest {
    max_idle_duration_seconds: u64,
    suspended_duration_seconds: u64,
    auto_resume_enabled: bool,
}

pub(super) async fn perform(context: &Context<'_>, input: Value) -> Result<Answer, Fault> {
    let request: Request = read(input)?;
    let image = launchable_arn(context, &request.image_identifier)?;
    let version = request.image_version.as_deref();
    let run = RunMicrovm {
        version: version
            .map(|version| launchable_version(&image, version))
            .transpose()?,
        image,
        execution_role_arn: request.execution_role_arn,
        idle_policy: request.idle_policy.map(IdlePolicy::from),
        max_duration: request.maximum_duration_in_seconds.map(Duration::from_secs),
        ingress: connectors(request.ingress_network_connectors)?,
        egress: connectors(request.egress_network_connectors)?,
        logging: request.logging.map(Into::into),
        run_hook_payload: request.run_hook_payload.map(RunHookPayload),
        client_token: request.client_token.map(ClientToken),
    };
    let microvm = context.control.run_microvm(context.scope(), run).await;
    let microvm = microvm.map_err(|error| context.refused(error))?;
    Ok(Answer::Json(shape::microvm(&microvm)))
}

/// A version that cannot exist is one that was never activated.
fn launchable_version(image: &ImageArn, version: &str) -> Result<VersionNumber, Fault> {
    version.parse().map_err(|_| {
        let message = refusal::no_active_version(&image.to_string(), Some(version));
        Fault::new(404, "ResourceNotFoundException", message)
    })
}

impl From<IdleRequest> for IdlePolicy {
    fn from(request: IdleRequest) -> Self {
        Self {
            max_idle: Duration::from_secs(request.max_idle_duration_seconds),
            suspended: Duration::from_secs(request.suspended_duration_seconds),
            auto_resume: request.auto_resume_enabled,
        }
    }
}
