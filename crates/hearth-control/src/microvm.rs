//! MicroVMs as the control plane stores them and as callers see them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::arn::{ConnectorRef, ImageArn, Scope};
use crate::hooks::Hooks;
use crate::id::{EndpointId, MicrovmId, VersionNumber};
use crate::image::{Logging, MemoryTier};
use crate::instance::{Instance, OutputPlace};
use crate::life::{Life, MicrovmState, Origin, Phase};
use crate::request::RequestToken;
use crate::time::Timestamp;

/// What happens to an idle microVM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdlePolicy {
    /// Suspend the microVM after this time without activity.
    pub max_idle: Duration,
    /// Terminate the microVM after this time in suspension. Zero terminates it instead of suspending it.
    pub suspended: Duration,
    /// Whether a request to the endpoint resumes the microVM.
    pub auto_resume: bool,
}

/// What counts as activity besides traffic through the endpoint: while it goes on, the microVM is not idle. By
/// default nothing does, as on AWS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Activity {
    /// Processes that run beside the application, shells included.
    pub execs: bool,
    /// CPU time of the application and of the processes beside it.
    pub guest_cpu: bool,
}

impl Activity {
    /// Whether anything but traffic counts.
    #[must_use]
    pub fn is_any(self) -> bool {
        self.execs || self.guest_cpu
    }
}

/// What the application is told at launch: the members of the body of `/run`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunInput {
    /// The payload of the caller.
    pub payload: Option<RunHookPayload>,
}

impl RunInput {
    /// The body of `/run`, JSON.
    #[must_use]
    pub fn body(&self, id: MicrovmId) -> String {
        let payload = self.payload.as_ref();
        let payload = payload.map(|payload| payload.0.as_str());
        serde_json::json!({ "microvmId": id.to_string(), "runHookPayload": payload }).to_string()
    }
}

/// What a caller passes to the application. It may hold secrets: `Debug` shows the length only.
#[derive(Clone, PartialEq, Eq)]
pub struct RunHookPayload(pub String);

impl fmt::Debug for RunHookPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RunHookPayload({} bytes)", self.0.len())
    }
}

/// The terms of a microVM: fixed for its life, and copied to its forks. There is one copy in memory, and one in the
/// store, which keeps it as one text: no query looks into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchTerms {
    /// The endpoint as callers use it: `host` or `host:port`, no scheme.
    pub endpoint: String,
    /// The memory size, from the version.
    pub tier: MemoryTier,
    /// The hooks, from the version.
    pub hooks: Option<Hooks>,
    /// The role of the application.
    pub execution_role_arn: Option<String>,
    /// What happens when the microVM is idle.
    pub idle_policy: Option<IdlePolicy>,
    /// The maximum duration of the microVM, running and suspended together.
    pub max_duration: Duration,
    /// The ingress connectors.
    pub ingress: Vec<ConnectorRef>,
    /// The egress connectors.
    pub egress: Vec<ConnectorRef>,
    /// Where the output of the application goes.
    pub logging: Option<Logging>,
    /// What the application is told at launch.
    pub run_input: RunInput,
}

/// A microVM. All members before `life` are fixed at launch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Microvm {
    /// The id of the microVM.
    pub id: MicrovmId,
    /// The account and region that own the microVM.
    pub scope: Scope,
    /// The image it was launched from.
    pub image: ImageArn,
    /// The version it was launched from.
    pub version: VersionNumber,
    /// The first label of the endpoint.
    pub endpoint_id: EndpointId,
    /// What the microVM was launched from: a version or a parent.
    pub origin: Origin,
    /// The terms of the launch.
    pub terms: Arc<LaunchTerms>,
    /// When `RunMicrovm` or `ForkMicrovm` was accepted.
    pub started_at: Timestamp,

    /// The phase, with what comes next.
    pub life: Life,
    /// The number of transitions that were written so far.
    pub generation: u64,
    /// What counts as activity besides traffic.
    pub activity: Activity,
    /// When the microVM became TERMINATED.
    pub terminated_at: Option<Timestamp>,
}

impl Microvm {
    /// Whether an operation launches, saves or restores the instance. A process that exists then may be left from an
    /// earlier attempt, or about to end.
    #[must_use]
    pub fn is_between_machines(&self) -> bool {
        matches!(
            self.life.phase,
            Phase::Launching | Phase::Forking | Phase::Saving | Phase::Restoring { .. }
        )
    }

    /// The instance of the microVM, as the host sees it.
    #[must_use]
    pub fn instance(&self) -> Instance {
        Instance {
            id: self.id.into(),
            account: self.scope.account,
            egress: self.terms.egress.clone(),
            output: OutputPlace {
                scope: self.scope.clone(),
                group: self.image.log_group(),
                version: self.version.to_string(),
                logging: self.terms.logging.clone(),
                begun_at: self.started_at,
            },
        }
    }

    /// The state that callers see.
    #[must_use]
    pub fn state(&self) -> MicrovmState {
        self.life.phase.state()
    }

    /// Why the microVM ends, ended or could not be resumed.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.life.reason.as_deref()
    }

    /// When the maximum duration is over.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        self.started_at.after(self.terms.max_duration)
    }
}

/// The input of `RunMicrovm`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunMicrovm {
    /// The image.
    pub image: ImageArn,
    /// The version. `None` takes the newest ACTIVE one.
    pub version: Option<VersionNumber>,
    /// The role of the application.
    pub execution_role_arn: Option<String>,
    /// What happens when the microVM is idle.
    pub idle_policy: Option<IdlePolicy>,
    /// The maximum duration. `None` takes the longest that is allowed.
    pub max_duration: Option<Duration>,
    /// The ingress connectors. Empty takes `HTTP_INGRESS`.
    pub ingress: Vec<ConnectorRef>,
    /// The egress connectors. Empty takes those of the version.
    pub egress: Vec<ConnectorRef>,
    /// Where the output of the application goes.
    pub logging: Option<Logging>,
    /// What the application is told at launch.
    pub run_input: RunInput,
    /// The client token, which makes the call idempotent.
    pub client_token: Option<RequestToken>,
}

/// The input of `ForkMicrovm`. All else the child takes over from its parent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ForkMicrovm {
    /// The maximum duration of the child, from now. `None` takes that of its parent.
    pub max_duration: Option<Duration>,
    /// The client token, which makes the call idempotent.
    pub client_token: Option<RequestToken>,
}

/// Which microVMs to list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MicrovmFilter {
    /// Only microVMs of this image.
    pub image: Option<ImageArn>,
    /// Only microVMs of this version.
    pub version: Option<VersionNumber>,
}
