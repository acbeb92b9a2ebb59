//! What an invocation runs: one version of a function, as the control plane resolved it.

use std::sync::Arc;
use std::time::Duration;

use crate::environment::EnvironmentSpec;

/// A version of a function with everything that an invocation of it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionVersion {
    /// What its environments are made of.
    pub spec: Arc<EnvironmentSpec>,
    /// How long an invocation may take.
    pub timeout: Duration,
    /// The ARN of the execution role.
    pub role_arn: String,
    /// Where its log goes, and how.
    pub logging: Logging,
    /// What the runtime calls itself in INIT_START, for example `python:3.11.v1`.
    pub runtime_version: String,
    /// The ARN of the runtime's version.
    pub runtime_version_arn: String,
    /// The function's reserved concurrency.
    pub reserved_concurrency: Option<u32>,
    /// What the account may run.
    pub account: AccountConcurrency,
    /// How often and how long an event is tried.
    pub retries: EventRetries,
}

impl FunctionVersion {
    /// Whether environments of `other` can run invocations of this version: what limits invocations may differ.
    #[must_use]
    pub fn runs_in(&self, other: &Self) -> bool {
        self.spec == other.spec
            && self.timeout == other.timeout
            && self.role_arn == other.role_arn
            && self.logging == other.logging
            && self.runtime_version_arn == other.runtime_version_arn
    }
}

/// What all functions of an account may run at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccountConcurrency {
    /// Invocations of all functions.
    pub limit: u32,
    /// The part that functions have reserved.
    pub reserved: u32,
}

impl AccountConcurrency {
    /// What is left for functions without a reservation.
    #[must_use]
    pub fn unreserved(self) -> u32 {
        self.limit.saturating_sub(self.reserved)
    }
}

/// How often and how long an event is tried (facts section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventRetries {
    /// Further attempts after a function error: 0 to 2.
    pub attempts: u8,
    /// The age in seconds at which an event is given up.
    pub max_age_s: u32,
}

impl Default for EventRetries {
    fn default() -> Self {
        Self {
            attempts: 2,
            max_age_s: 6 * 3600,
        }
    }
}

/// The logging configuration of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logging {
    /// Text or JSON.
    pub format: LogFormat,
    /// What the runtime logs at least, in JSON format. `AWS_LAMBDA_LOG_LEVEL` passes it on.
    pub application_level: Option<String>,
    /// Which records of the platform are logged, in JSON format.
    pub system_level: SystemLogLevel,
    /// The log group.
    pub group: String,
}

impl Logging {
    /// Text into the function's own group.
    #[must_use]
    pub fn text(function_name: &str) -> Self {
        Self {
            format: LogFormat::Text,
            application_level: None,
            system_level: SystemLogLevel::Info,
            group: format!("/aws/lambda/{function_name}"),
        }
    }
}

/// The form of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines.
    Text,
    /// JSON objects.
    Json,
}

/// Least level of the platform's records in JSON format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SystemLogLevel {
    /// Everything.
    Debug,
    /// What users usually want to know.
    Info,
    /// Failures alone.
    Warn,
}
