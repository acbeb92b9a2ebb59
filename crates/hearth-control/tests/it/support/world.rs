//! A control plane that can be stopped and started again over the same file, host and clock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hearth_control::arn::{ImageArn, ManagedConnector, Scope};
use hearth_control::connector::RuleBook;
use hearth_control::endpoint::EndpointScheme;
use hearth_control::hooks::{HookSetting, Hooks, ImageHooks, MicrovmHooks};
use hearth_control::id::{AccountId, MicrovmId};
use hearth_control::image::{
    ArtifactUri, CreateImage, ImageSpec, ImageState, ManagedImage, ManagedStatus, ManagedVersion,
    MemoryTier, OsCapabilities, Tags,
};
use hearth_control::life::MicrovmState;
use hearth_control::microvm::{Microvm, RunInput, RunMicrovm};
use hearth_control::policy::Policy;
use hearth_control::request::{ClientToken, RequestDigest, RequestToken};
use hearth_control::store::{SqliteStore, Store};
use hearth_control::throttle::Rates;
use hearth_control::time::{Clock, ManualClock, Timestamp};
use hearth_control::{Control, ControlConfig, ControlError, Refusal};

use super::{CrashPoint, CrashingStore, ScriptedHost};

/// Longest that anything may take in real time before a test says that it is wedged.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct World {
    directory: tempfile::TempDir,
    pub(crate) host: Arc<ScriptedHost>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) policy: Policy,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            host: Arc::default(),
            clock: Arc::new(ManualClock::at(Timestamp::from_unix_ms(1_795_000_000_000))),
            policy: Policy::default(),
        }
    }

    /// One more handle of the store's file.
    pub(crate) fn open(&self) -> SqliteStore {
        SqliteStore::open(&self.directory.path().join("control.sqlite")).unwrap()
    }

    pub(crate) async fn start(&self) -> Control {
        self.start_on(Arc::new(self.open())).await.unwrap()
    }

    /// Starts on a store that dies at the given point.
    pub(crate) async fn start_doomed(
        &self,
        point: Option<CrashPoint>,
    ) -> (Arc<CrashingStore>, Result<Control, ControlError>) {
        let store = Arc::new(CrashingStore::new(self.open(), point));
        let control = self.start_on(Arc::clone(&store) as Arc<dyn Store>).await;
        (store, control)
    }

    async fn start_on(&self, store: Arc<dyn Store>) -> Result<Control, ControlError> {
        let at = self.clock.now();
        let version = |number, status| ManagedVersion {
            number,
            status,
            created_at: at,
            updated_at: at,
        };
        let base = ManagedImage {
            name: "al2023-1".parse().unwrap(),
            created_at: at,
            updated_at: at,
            versions: vec![
                version(2, ManagedStatus::Available),
                version(1, ManagedStatus::Deprecated),
            ],
        };
        Control::start(ControlConfig {
            store,
            host: self.host.clone(),
            clock: self.clock.clone(),
            policy: self.policy.clone(),
            rates: Rates::unlimited(),
            endpoints: EndpointScheme::Ports {
                host: "127.0.0.1".to_owned(),
                ports: 20_000..=29_999,
            },
            default_egress: ManagedConnector::InternetEgress,
            rules: RuleBook {
                subnets: of_first_account("subnet-a"),
                security_groups: of_first_account("sg-a"),
            },
            managed_images: vec![base],
            chipset_generation: "v3".to_owned(),
        })
        .await
    }

    /// An image with one ACTIVE version.
    pub(crate) async fn image(&self, control: &Control, spec: ImageSpec) -> ImageArn {
        let name = "web".parse().unwrap();
        let request = CreateImage {
            name,
            spec,
            tags: Tags::new(),
            client_token: None,
        };
        let made = control.create_image(&scope(), request).await.unwrap();
        image_state(control, &made.image.arn, ImageState::Created).await;
        made.image.arn
    }

    pub(crate) fn run(&self, image: &ImageArn) -> RunMicrovm {
        RunMicrovm {
            image: image.clone(),
            version: None,
            execution_role_arn: None,
            idle_policy: None,
            max_duration: None,
            ingress: Vec::new(),
            egress: Vec::new(),
            logging: None,
            run_input: RunInput::default(),
            client_token: None,
        }
    }

    /// A microVM that is RUNNING.
    pub(crate) async fn running(&self, control: &Control, request: RunMicrovm) -> MicrovmId {
        let microvm = control.run_microvm(&scope(), request).await.unwrap();
        assert_eq!(microvm.state(), MicrovmState::Pending);
        state_of(control, microvm.id, MicrovmState::Running).await;
        microvm.id
    }
}

pub(crate) fn scope() -> Scope {
    Scope {
        account: AccountId::FIRST,
        region: "us-east-1".parse().unwrap(),
    }
}

/// A client token of a request that is told from others by a text.
pub(crate) fn token(token: &str, request: &str) -> RequestToken {
    RequestToken {
        token: ClientToken(token.to_owned()),
        digest: RequestDigest::of(request),
    }
}

/// What an image is made from, with all hooks or none.
pub(crate) fn spec(with_hooks: bool) -> ImageSpec {
    let on = HookSetting {
        enabled: Some(true),
        timeout_s: None,
    };
    let hooks = Hooks {
        port: Some(9000),
        microvm: Some(MicrovmHooks {
            run: on,
            resume: on,
            suspend: on,
            terminate: on,
        }),
        image: Some(ImageHooks {
            ready: on,
            validate: on,
        }),
    };
    ImageSpec {
        base: "arn:aws:lambda:us-east-1:aws:microvm-image:al2023-1"
            .parse()
            .unwrap(),
        base_version: None,
        build_role_arn: "arn:aws:iam::000000000000:role/build".to_owned(),
        description: None,
        artifact: ArtifactUri {
            bucket: "b".to_owned(),
            key: "k".to_owned(),
        },
        logging: None,
        egress: Vec::new(),
        cpu_architectures: None,
        tier: MemoryTier::Mib512,
        capabilities: OsCapabilities::Container,
        hooks: with_hooks.then_some(hooks),
        environment: None,
    }
}

/// Waits until a condition holds.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let found = tokio::time::timeout(PATIENCE, looking).await;
    found.unwrap_or_else(|_| panic!("wedged: {what}"))
}

/// Waits until a microVM is in a state.
pub(crate) async fn state_of(control: &Control, id: MicrovmId, state: MicrovmState) -> Microvm {
    eventually(&format!("{id} {state:?}"), async || {
        let microvm = control.microvm(&scope(), id).await.unwrap();
        (microvm.state() == state).then_some(microvm)
    })
    .await
}

/// Waits until an image is in a state.
pub(crate) async fn image_state(control: &Control, arn: &ImageArn, state: ImageState) {
    eventually(&format!("{arn} {state:?}"), async || {
        let found = control.image(&scope(), arn).await.unwrap();
        (found.image.state == state).then_some(())
    })
    .await;
}

/// Waits until a microVM is TERMINATED; why.
pub(crate) async fn terminated_reason(control: &Control, id: MicrovmId) -> String {
    let microvm = state_of(control, id, MicrovmState::Terminated).await;
    assert!(microvm.terminated_at.is_some());
    microvm.reason().unwrap().to_owned()
}

/// Waits until a microVM is SUSPENDED with something to say about it; what.
pub(crate) async fn suspended_reason(control: &Control, id: MicrovmId) -> String {
    eventually(&format!("{id} suspended with a reason"), async || {
        let microvm = control.microvm(&scope(), id).await.unwrap();
        let reason = microvm.reason().map(str::to_owned);
        reason.filter(|_| microvm.state() == MicrovmState::Suspended)
    })
    .await
}

/// The refusal of an outcome that must be one.
pub(crate) fn refusal<T: std::fmt::Debug>(outcome: Result<T, ControlError>) -> Refusal {
    match outcome {
        Err(ControlError::Refused(refusal)) => refusal,
        other => panic!("not a refusal: {other:?}"),
    }
}

fn of_first_account(name: &str) -> BTreeMap<String, BTreeSet<AccountId>> {
    [(name.to_owned(), [AccountId::FIRST].into())].into()
}
