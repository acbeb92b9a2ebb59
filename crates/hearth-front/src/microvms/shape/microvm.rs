//! Answers about microVMs.

use std::time::Duration;

use hearth_control::microvm::{IdlePolicy, Microvm};

use super::arns;
use crate::model::lambda_microvms as model;

/// The answer of `RunMicrovm` and `GetMicrovm`. It does not repeat payload, logging and size.
pub(crate) fn microvm(microvm: &Microvm) -> model::GetMicrovmOutput {
    model::GetMicrovmOutput {
        egress_network_connectors: Some(arns(&microvm.terms.egress)),
        endpoint: microvm.terms.endpoint.clone(),
        execution_role_arn: microvm.terms.execution_role_arn.clone(),
        idle_policy: microvm.terms.idle_policy.as_ref().map(idle_policy),
        image_arn: microvm.image.to_string(),
        image_version: microvm.version.to_string(),
        ingress_network_connectors: Some(arns(&microvm.terms.ingress)),
        maximum_duration_in_seconds: seconds(microvm.terms.max_duration),
        microvm_id: microvm.id.to_string(),
        started_at: microvm.started_at.into(),
        state: microvm.state().into(),
        state_reason: microvm.reason().map(Into::into),
        terminated_at: microvm.terminated_at.map(Into::into),
        // Only null was ever recorded. Its values are not known.
        termination_reason_code: None,
    }
}

/// An item of `ListMicrovms`.
pub(crate) fn microvm_item(microvm: &Microvm) -> model::MicrovmItem {
    model::MicrovmItem {
        image_arn: microvm.image.to_string(),
        image_version: microvm.version.to_string(),
        microvm_id: microvm.id.to_string(),
        started_at: microvm.started_at.into(),
        state: microvm.state().into(),
    }
}

fn idle_policy(policy: &IdlePolicy) -> model::IdlePolicy {
    model::IdlePolicy {
        auto_resume_enabled: policy.auto_resume,
        max_idle_duration_seconds: policy.max_idle.as_secs(),
        suspended_duration_seconds: policy.suspended.as_secs(),
    }
}

/// In seconds. The longest duration is eight hours, so the conversion cannot overflow.
fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}
