//! `RunMicrovm`: launches a microVM, which is PENDING in the answer.

use std::time::Duration;

use hearth_control::arn::ImageArn;
use hearth_control::id::VersionNumber;
use hearth_control::microvm::{IdlePolicy, RunHookPayload, RunInput, RunMicrovm};

use super::identifiers::{connectors, launchable_arn};
use super::image_spec::logging;
use super::shape;
use crate::fault::Fault;
use crate::lambda::{Context, refusal};
use crate::model::lambda_microvms::{self as model, RunMicrovmInput, RunMicrovmOutput};

pub(super) async fn perform(
    context: &Context<'_>,
    input: RunMicrovmInput,
) -> Result<RunMicrovmOutput, Fault> {
    let image = launchable_arn(context, &input.image_identifier)?;
    let version = input.image_version.as_deref();
    let duration_s = input.maximum_duration_in_seconds;
    let run = RunMicrovm {
        version: version
            .map(|version| launchable_version(&image, version))
            .transpose()?,
        image,
        execution_role_arn: input.execution_role_arn,
        idle_policy: input.idle_policy.as_ref().map(idle_policy),
        max_duration: duration_s.map(|seconds| Duration::from_secs(seconds.into())),
        ingress: connectors(input.ingress_network_connectors)?,
        egress: connectors(input.egress_network_connectors)?,
        logging: input.logging.map(logging),
        run_input: RunInput {
            payload: input.run_hook_payload.map(|text| RunHookPayload(text.0)),
        },
        client_token: context.request_token(input.client_token),
    };
    let microvm = context.control.run_microvm(context.scope(), run).await;
    let microvm = microvm.map_err(|error| context.refused(error))?;
    Ok(shape::microvm(&microvm))
}

/// A version that cannot exist is refused like one that is not ACTIVE.
fn launchable_version(image: &ImageArn, version: &str) -> Result<VersionNumber, Fault> {
    version.parse().map_err(|_| {
        let message = refusal::no_active_version(&image.to_string(), Some(version));
        Fault::new(404, "ResourceNotFoundException", message)
    })
}

fn idle_policy(policy: &model::IdlePolicy) -> IdlePolicy {
    IdlePolicy {
        max_idle: Duration::from_secs(policy.max_idle_duration_seconds),
        suspended: Duration::from_secs(policy.suspended_duration_seconds),
        auto_resume: policy.auto_resume_enabled,
    }
}
