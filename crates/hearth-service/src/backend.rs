//! The endpoint's trait `Backend` on this host: finding a microVM, opening a stream into it, resuming it.

use hearth_control::Control;
use hearth_control::arn::{ConnectorRef, ManagedConnector};
use hearth_control::life::MicrovmState;
use hearth_control::microvm::Microvm;
use hearth_endpoint::{
    Backend, EndpointId, EndpointLimits, Ingress, MicrovmId, OpenError, ResumeError, Shell, State,
    Stream, TerminalSize,
};
use hearth_host::{LocalHost, retry_while_frozen};

use crate::shell;

/// This host, as the endpoint sees it.
pub(crate) struct HostBackend {
    pub(crate) control: Control,
    pub(crate) host: LocalHost,
    /// Whether the limits of the size tiers apply.
    pub(crate) has_limits: bool,
}

#[async_trait::async_trait]
impl Backend for HostBackend {
    async fn find(&self, endpoint: EndpointId) -> Option<hearth_endpoint::Microvm> {
        let id = endpoint.to_string().parse().ok()?;
        let found = self.control.microvm_by_endpoint(id).await;
        let found = found.inspect_err(|error| tracing::error!(%error, "endpoint look-up failed"));
        found.ok()?.map(|microvm| self.describe(&microvm))
    }

    async fn resume(&self, microvm: MicrovmId) -> Result<(), ResumeError> {
        let id = control_id(microvm).map_err(ResumeError)?;
        match self.control.wake_microvm(id).await {
            Ok(microvm) if microvm.state() == MicrovmState::Running => Ok(()),
            Ok(microvm) => Err(ResumeError(format!("it is {:?}", microvm.state()))),
            Err(error) => Err(ResumeError(error.to_string())),
        }
    }

    async fn open(&self, microvm: MicrovmId, port: u16) -> Result<Box<dyn Stream>, OpenError> {
        let agent = self.agent(microvm)?;
        let opened = retry_while_frozen(|| agent.proxy(port)).await;
        match opened {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) if hearth_host::is_refused(&error) => Err(OpenError::Refused),
            Err(error) => Err(OpenError::Unreachable(Box::new(error))),
        }
    }

    async fn shell(&self, microvm: MicrovmId, size: TerminalSize) -> Result<Shell, OpenError> {
        shell::open(&self.agent(microvm)?, size).await
    }

    fn first_byte(&self, microvm: MicrovmId) {
        if let Ok(id) = control_id(microvm) {
            self.control.first_byte(id);
        }
    }

    fn touched(&self, microvm: MicrovmId, _bytes: u64) {
        if let Ok(id) = control_id(microvm) {
            self.control.touch(id);
        }
    }
}

impl HostBackend {
    fn describe(&self, microvm: &Microvm) -> hearth_endpoint::Microvm {
        hearth_endpoint::Microvm {
            id: MicrovmId(microvm.id.uuid()),
            epoch: self.host.resumes_of(microvm.id),
            state: match microvm.state() {
                MicrovmState::Pending => State::Pending,
                MicrovmState::Running => State::Running,
                MicrovmState::Suspending | MicrovmState::Suspended => State::Suspended,
                MicrovmState::Terminating | MicrovmState::Terminated => State::Ended,
            },
            auto_resume: microvm
                .terms
                .idle_policy
                .is_some_and(|policy| policy.auto_resume),
            ingress: ingress(&microvm.terms.ingress),
            limits: if self.has_limits {
                EndpointLimits::of_tier(microvm.terms.tier.baseline_mib())
            } else {
                EndpointLimits::NONE
            },
        }
    }

    fn agent(&self, microvm: MicrovmId) -> Result<hearth_node::AgentClient, OpenError> {
        let unreachable = |cause: String| OpenError::Unreachable(cause.into());
        let id = control_id(microvm).map_err(unreachable)?;
        self.host
            .agent(id)
            .map_err(|error| OpenError::Unreachable(Box::new(error)))
    }
}

/// The same id as the control plane's type.
fn control_id(microvm: MicrovmId) -> Result<hearth_control::id::MicrovmId, String> {
    let parsed = microvm.to_string().parse();
    parsed.map_err(|error: hearth_control::id::IdError| error.to_string())
}

fn ingress(connectors: &[ConnectorRef]) -> Ingress {
    let has = |wanted: ManagedConnector| {
        connectors.iter().any(|connector| {
            matches!(connector, ConnectorRef::Managed { connector, .. } if *connector == wanted)
        })
    };
    let all = has(ManagedConnector::AllIngress);
    let preflights = has(ManagedConnector::CorsIngress);
    Ingress {
        http: all || preflights || has(ManagedConnector::HttpIngress),
        shell: all || has(ManagedConnector::ShellIngress),
        preflights,
    }
}
