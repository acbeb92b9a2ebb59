//! MicroVMs.

use hearth_control::microvm::{IdlePolicy, Microvm};
use serde_json::{Value, json};

use super::{arns, time};
use crate::aws_strings::Word;

/// What running and getting answer. Payload, logging and size are not repeated to the caller.
pub(crate) fn microvm(microvm: &Microvm) -> Value {
    json!({
        "egressNetworkConnectors": arns(&microvm.terms.egress),
        "endpoint": microvm.terms.endpoint,
        "executionRoleArn": microvm.terms.execution_role_arn,
        "idlePolicy": microvm.terms.idle_policy.as_ref().map(idle_policy),
        "imageArn": microvm.image.to_string(),
        "imageVersion": microvm.version.to_string(),
        "ingressNetworkConnectors": arns(&microvm.terms.ingress),
        "maximumDurationInSeconds": microvm.terms.max_duration.as_secs(),
        "microvmId": microvm.id.to_string(),
        "startedAt": time(microvm.started_at),
        "state": microvm.state().text(),
        "stateReason": microvm.reason(),
        "terminatedAt": microvm.terminated_at.map(time),
    })
}

/// An item of `ListMicrovms`.
pub(crate) fn microvm_item(microvm: &Microvm) -> Value {
    json!({
        "imageArn": microvm.image.to_string(),
        "imageVersion": microvm.version.to_string(),
        "microvmId": microvm.id.to_string(),
        "startedAt": time(microvm.started_at),
        "state": microvm.state().text(),
    })
}

fn idle_policy(policy: &IdlePolicy) -> Value {
    json!({
        "autoResumeEnabled": policy.auto_resume,
        "maxIdleDurationSeconds": policy.max_idle.as_secs(),
        "suspendedDurationSeconds": policy.suspended.as_secs(),
    })
}
