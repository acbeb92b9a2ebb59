//! Stored form of a microVM's terms.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Stored;
use super::image::{
    HooksForm, LoggingForm, hooks_from_form, hooks_to_form, logging_from_form, logging_to_form,
};
use crate::arn::ConnectorRef;
use crate::image::MemoryTier;
use crate::microvm::{IdlePolicy, LaunchTerms, RunHookPayload, RunInput};

#[derive(Serialize, Deserialize)]
pub(crate) struct IdleForm {
    max_idle_s: u64,
    suspended_s: u64,
    auto_resume: bool,
}

fn idle_to_form(policy: &IdlePolicy) -> IdleForm {
    IdleForm {
        max_idle_s: policy.max_idle.as_secs(),
        suspended_s: policy.suspended.as_secs(),
        auto_resume: policy.auto_resume,
    }
}

fn idle_from_form(form: &IdleForm) -> IdlePolicy {
    IdlePolicy {
        max_idle: Duration::from_secs(form.max_idle_s),
        suspended: Duration::from_secs(form.suspended_s),
        auto_resume: form.auto_resume,
    }
}

fn payload_to_form(input: &RunInput) -> Option<String> {
    input.payload.as_ref().map(|payload| payload.0.clone())
}

fn arns(connectors: &[ConnectorRef]) -> Vec<String> {
    connectors.iter().map(ToString::to_string).collect()
}

#[derive(Serialize, Deserialize)]
pub(crate) struct LaunchForm {
    endpoint: String,
    memory_mib: u32,
    hooks: Option<HooksForm>,
    execution_role_arn: Option<String>,
    idle: Option<IdleForm>,
    max_duration_s: u64,
    ingress: Vec<String>,
    egress: Vec<String>,
    logging: Option<LoggingForm>,
    payload: Option<String>,
}

impl Stored for LaunchTerms {
    const KIND: &'static str = "microVM";
    type Form = LaunchForm;

    fn to_form(&self) -> LaunchForm {
        LaunchForm {
            endpoint: self.endpoint.clone(),
            memory_mib: self.tier.baseline_mib(),
            hooks: self.hooks.as_ref().map(hooks_to_form),
            execution_role_arn: self.execution_role_arn.clone(),
            idle: self.idle_policy.as_ref().map(idle_to_form),
            max_duration_s: self.max_duration.as_secs(),
            ingress: arns(&self.ingress),
            egress: arns(&self.egress),
            logging: self.logging.as_ref().map(logging_to_form),
            payload: payload_to_form(&self.run_input),
        }
    }

    fn from_form(form: LaunchForm) -> Option<Self> {
        let connectors = |arns: Vec<String>| {
            arns.iter()
                .map(|arn| arn.parse().ok())
                .collect::<Option<Vec<ConnectorRef>>>()
        };
        Some(Self {
            endpoint: form.endpoint,
            tier: MemoryTier::from_baseline_mib(form.memory_mib)?,
            hooks: form.hooks.map(hooks_from_form),
            execution_role_arn: form.execution_role_arn,
            idle_policy: form.idle.as_ref().map(idle_from_form),
            max_duration: Duration::from_secs(form.max_duration_s),
            ingress: connectors(form.ingress)?,
            egress: connectors(form.egress)?,
            logging: form.logging.map(logging_from_form),
            run_input: RunInput {
                payload: form.payload.map(RunHookPayload),
            },
        })
    }
}
