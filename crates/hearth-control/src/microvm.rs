//! MicroVMs as the control plane keeps them and as callers see them.

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

/// What happens to a microVM that nobody talks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdlePolicy {
    /// Suspend it after this time without a byte through its endpoint.
    pub max_idle: Duration,
    /// Terminate it after this time in suspension; zero terminates instead of suspending.
    pub suspended: Duration,
    /// Whether a request to its endpoint resumes it.
    pub auto_resume: bool,
}

/// What counts as activity beside bytes through the endpoint: whose idle time never ends while it goes on. Nothing is the default,
/// and what AWS does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Activity {
    /// Processes that run beside the application, shells included.
    pub execs: bool,
    /// CPU time of the application and of what runs beside it.
    pub guest_cpu: bool,
}

impl Activity {
    /// Whether anything but traffic counts.
    #[must_use]
    pub fn is_any(self) -> bool {
        self.execs || self.guest_cpu
    }
}

/// What the application is told when it is run: the members of the body of `/run`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunInput {
    /// The caller's payload.
    pub payload: Option<RunHookPayload>,
}

impl RunInput {
    /// The body of `/run`.
    #[must_use]
    pub fn body(&self, id: MicrovmId) -> String {
        let payload = self.payload.as_ref();
        let payload = payload.map(|payload| payload.0.as_str());
        serde_json::json!({ "microvmId": id.to_string(), "runHookPayload": payload }).to_string()
    }
}

/// What a caller hands to the application. May hold secrets: `Debug` shows the length alone.
#[derive(Clone, PartialEq, Eq)]
pub struct RunHookPayload(pub String);

impl fmt::Debug for RunHookPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RunHookPayload({} bytes)", self.0.len())
    }
}

/// What a microVM is launched with. Fixed for its life, and what its forks begin with. There is one copy in memory, and one in the
/// store, which keeps it as a whole: no query asks for what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchTerms {
    /// Its endpoint as callers use it: `host` or `host:port`, no scheme.
    pub endpoint: String,
    /// Its size, from the version.
    pub tier: MemoryTier,
    /// Its hooks, from the version.
    pub hooks: Option<Hooks>,
    /// The role of the application.
    pub execution_role_arn: Option<String>,
    /// What happens when nobody talks to it.
    pub idle_policy: Option<IdlePolicy>,
    /// How long it may exist, running and suspended together.
    pub max_duration: Duration,
    /// The ways in.
    pub ingress: Vec<ConnectorRef>,
    /// The ways out.
    pub egress: Vec<ConnectorRef>,
    /// Where the output of its application goes.
    pub logging: Option<Logging>,
    /// What the application is told when it is run.
    pub run_input: RunInput,
}

/// A microVM. All but `life` and what follows it is fixed at launch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Microvm {
    /// Its id.
    pub id: MicrovmId,
    /// Who owns it.
    pub scope: Scope,
    /// The image it was launched from.
    pub image: ImageArn,
    /// The version it was launched from.
    pub version: VersionNumber,
    /// The first label of its endpoint.
    pub endpoint_id: EndpointId,
    /// Where it began.
    pub origin: Origin,
    /// What it was launched with.
    pub terms: Arc<LaunchTerms>,
    /// When `RunMicrovm` or `ForkMicrovm` took it.
    pub started_at: Timestamp,

    /// Where it is in its life.
    pub life: Life,
    /// How often it has moved: 0 at first, raised by one with each move that was written.
    pub generation: u64,
    /// What keeps it from being idle beside traffic.
    pub activity: Activity,
    /// When it reached TERMINATED.
    pub terminated_at: Option<Timestamp>,
}

impl Microvm {
    /// Whether an operation launches, saves or restores its machine: one that is there may be an earlier attempt's, or is about to
    /// end.
    #[must_use]
    pub fn is_between_machines(&self) -> bool {
        matches!(
            self.life.phase,
            Phase::Launching | Phase::Forking | Phase::Saving | Phase::Restoring { .. }
        )
    }

    /// Its instance, as the host sees it.
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

    /// What callers are told about where it is.
    #[must_use]
    pub fn state(&self) -> MicrovmState {
        self.life.phase.state()
    }

    /// Why it ends or ended.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.life.reason.as_deref()
    }

    /// The last moment of its life.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        self.started_at.after(self.terms.max_duration)
    }
}

/// What `RunMicrovm` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunMicrovm {
    /// The image.
    pub image: ImageArn,
    /// The version; `None` takes the newest ACTIVE one.
    pub version: Option<VersionNumber>,
    /// The role of the application.
    pub execution_role_arn: Option<String>,
    /// What happens when nobody talks to it.
    pub idle_policy: Option<IdlePolicy>,
    /// How long it may exist; `None` takes the longest allowed.
    pub max_duration: Option<Duration>,
    /// The ways in; empty takes `HTTP_INGRESS`.
    pub ingress: Vec<ConnectorRef>,
    /// The ways out; empty takes those of the version.
    pub egress: Vec<ConnectorRef>,
    /// Where the output of its application goes.
    pub logging: Option<Logging>,
    /// What the application is told when it is run.
    pub run_input: RunInput,
    /// Makes the call safe to repeat.
    pub client_token: Option<RequestToken>,
}

/// What `ForkMicrovm` asks for. All else the child has from its parent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ForkMicrovm {
    /// How long the child may exist, from now; `None` takes what its parent was given.
    pub max_duration: Option<Duration>,
    /// Makes the call safe to repeat.
    pub client_token: Option<RequestToken>,
}

/// Which microVMs are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MicrovmFilter {
    /// Of this image only.
    pub image: Option<ImageArn>,
    /// Of this version only.
    pub version: Option<VersionNumber>,
}
