//! What the newest file holds.

use std::sync::Arc;
use std::time::Duration;

use super::super::*;
use crate::account::{KeyStatus, SecretKey};
use crate::connector::{ComputeKind, ConnectorFault, NetworkProtocol, UpdateStatus, VpcEgress};
use crate::host::{SnapshotRef, Template};
use crate::image::{
    Architecture, BuildSizes, BuildState, ImageSpec, ImageState, OsCapabilities, VersionState,
    VersionStatus,
};
use crate::life::{Life, Origin, Phase, Wish};
use crate::managed_policy::ManagedPolicy;
use crate::microvm::{Activity, LaunchTerms, RunInput};
use crate::request::ClientToken;
use crate::store::IntentSubject;
use crate::store::form::tests::{egress, spec, terms};

/// All that a store can hold.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Records {
    pub(super) accounts: Vec<Account>,
    pub(super) keys: Vec<AccessKey>,
    pub(super) roles: Vec<Role>,
    pub(super) policies: Vec<RolePolicy>,
    pub(super) attachments: Vec<String>,
    pub(super) managed: Vec<FoundPolicy>,
    pub(super) managed_versions: Vec<PolicyVersion>,
    pub(super) images: Vec<Image>,
    pub(super) versions: Vec<ImageVersion>,
    pub(super) builds: Vec<Build>,
    pub(super) microvms: Vec<Microvm>,
    pub(super) connectors: Vec<Connector>,
    pub(super) connector_versions: Vec<ConnectorVersion>,
    pub(super) tags: Tags,
    pub(super) token: Option<TokenUse>,
    pub(super) intents: Vec<Intent>,
}

pub(in super::super) fn at(unix_ms: i64) -> Timestamp {
    Timestamp::from_unix_ms(1_800_000_000_000 + unix_ms)
}

/// A UUID whose last digits are a number.
fn uuid(number: usize) -> String {
    format!("00000000-0000-3000-8000-{number:012}")
}

pub(in super::super) fn account() -> AccountId {
    AccountId::from_number(7).unwrap()
}

pub(in super::super) fn image_arn() -> ImageArn {
    "arn:aws:lambda:us-east-1:000000000007:microvm-image:hello"
        .parse()
        .unwrap()
}

pub(in super::super) fn version_number(major: u32) -> VersionNumber {
    VersionNumber::from_major(major).unwrap()
}

pub(in super::super) fn microvm_id(number: usize) -> MicrovmId {
    format!("microvm-{}", uuid(number)).parse().unwrap()
}

pub(in super::super) fn connector_id(number: usize) -> ConnectorId {
    format!("nc-{}", uuid(number)).parse().unwrap()
}

pub(in super::super) fn token_key() -> TokenKey {
    TokenKey {
        scope: image_arn().scope,
        operation: "RunMicrovm",
        token: ClientToken("token-1".to_owned()),
    }
}

pub(in super::super) fn role(name: &str, description: Option<&str>) -> Role {
    Role {
        account: account(),
        name: name.parse().unwrap(),
        path: "/service/".to_owned(),
        role_id: "AROAAAAAAAAAAAAAAAAAA".to_owned(),
        description: description.map(str::to_owned),
        trust_policy: r#"{"Version":"2012-10-17","Statement":[]}"#.to_owned(),
        max_session_s: 3600,
        tags: description.map(|_| tags()).unwrap_or_default(),
        created_at: at(3),
    }
}

fn tags() -> Tags {
    Tags::from([("team".to_owned(), "it's us".to_owned())])
}

pub(in super::super) fn policy_arn(name: &str) -> PolicyArn {
    let arn = format!("arn:aws:iam::000000000007:policy/service/{name}");
    arn.parse().unwrap()
}

fn managed(name: &str, description: Option<&str>, attachments: u32) -> FoundPolicy {
    let policy = ManagedPolicy {
        arn: policy_arn(name),
        policy_id: "ANPAAAAAAAAAAAAAAAAAA".to_owned(),
        description: description.map(str::to_owned),
        default_version: 1,
        last_version: 2,
        tags: description.map(|_| tags()).unwrap_or_default(),
        created_at: at(4),
        updated_at: at(6),
    };
    FoundPolicy {
        policy,
        attachments,
    }
}

/// The versions of the first managed policy, the newest first.
pub(in super::super) fn managed_versions() -> Vec<PolicyVersion> {
    let version = |number, ms| PolicyVersion {
        number,
        document: r#"{"Statement":[]}"#.to_owned(),
        created_at: at(ms),
    };
    vec![version(2, 6), version(1, 4)]
}

fn key(id: &str, status: KeyStatus) -> AccessKey {
    AccessKey {
        id: id.parse().unwrap(),
        secret: SecretKey::new("it's a secret".to_owned()),
        account: account(),
        status,
        created_at: at(2),
    }
}

/// A spec with as few members as it can have.
fn least_spec() -> ImageSpec {
    ImageSpec {
        base_version: None,
        description: None,
        logging: None,
        egress: Vec::new(),
        cpu_architectures: None,
        capabilities: OsCapabilities::Container,
        hooks: None,
        environment: None,
        ..spec()
    }
}

/// Terms with as few members as they can have.
fn least_terms() -> LaunchTerms {
    LaunchTerms {
        hooks: None,
        execution_role_arn: None,
        idle_policy: None,
        max_duration: Duration::from_secs(60),
        ingress: Vec::new(),
        egress: Vec::new(),
        logging: None,
        run_input: RunInput::default(),
        ..terms()
    }
}

fn least_egress() -> VpcEgress {
    VpcEgress {
        subnet_ids: Vec::new(),
        security_group_ids: Some(vec!["sg-a".to_owned()]),
        protocol: NetworkProtocol::Ipv4,
        compute: ComputeKind::WebFunction,
        elastic_ip: None,
    }
}

pub(in super::super) fn images() -> Vec<Image> {
    let image = Image {
        arn: image_arn(),
        id: uuid(1).parse().unwrap(),
        state: ImageState::Updated,
        latest_active_version: Some(version_number(1)),
        latest_failed_version: Some(version_number(2)),
        last_version: version_number(2),
        created_at: at(10),
        updated_at: at(11),
    };
    let new = Image {
        arn: ImageArn {
            name: "new".parse().unwrap(),
            ..image_arn()
        },
        id: uuid(2).parse().unwrap(),
        state: ImageState::Creating,
        latest_active_version: None,
        latest_failed_version: None,
        ..image.clone()
    };
    vec![image, new]
}

pub(in super::super) fn versions() -> Vec<ImageVersion> {
    let successful = ImageVersion {
        image: image_arn(),
        number: version_number(1),
        state: VersionState::Successful,
        status: VersionStatus::Active,
        spec: spec(),
        template: Some(Template {
            snapshot: SnapshotRef("snapshot-1".to_owned()),
            tier: spec().tier,
        }),
        created_at: at(12),
        updated_at: at(13),
    };
    let failed = ImageVersion {
        number: version_number(2),
        state: VersionState::Failed,
        status: VersionStatus::Inactive,
        spec: least_spec(),
        template: None,
        ..successful.clone()
    };
    vec![failed, successful]
}

pub(in super::super) fn builds() -> Vec<Build> {
    let successful = Build {
        id: uuid(10).parse().unwrap(),
        image: image_arn(),
        version: version_number(1),
        state: BuildState::Successful,
        architecture: Architecture::X86_64,
        chipset_generation: "generation-1".to_owned(),
        reason: None,
        sizes: BuildSizes {
            memory_bytes: Some(u64::MAX),
            code_install_bytes: Some(2),
            disk_bytes: Some(3),
        },
        attempts: 1,
        created_at: at(14),
    };
    let failed = Build {
        id: uuid(11).parse().unwrap(),
        version: version_number(2),
        state: BuildState::Failed,
        architecture: Architecture::Arm64,
        reason: Some("it's broken".to_owned()),
        sizes: BuildSizes::default(),
        ..successful.clone()
    };
    vec![successful, failed]
}

fn phases() -> [Phase; 16] {
    let since = at(20);
    [
        Phase::Launching,
        Phase::RunHook,
        Phase::Running,
        Phase::SuspendHook,
        Phase::Saving,
        Phase::Suspended { since },
        Phase::Restoring { since },
        Phase::ResumeHook,
        Phase::BackHook,
        Phase::TerminateHook,
        Phase::Removing,
        Phase::Terminated,
        Phase::Forking,
        Phase::ForkHook,
        Phase::Sealing { since: None },
        Phase::Sealing { since: Some(since) },
    ]
}

/// Phases that came with forks.
pub(super) fn is_of_forks(phase: Phase) -> bool {
    matches!(
        phase,
        Phase::Forking | Phase::ForkHook | Phase::Sealing { .. }
    )
}

/// One in each phase.
fn microvms() -> Vec<Microvm> {
    let microvm = |(number, phase)| {
        let is_odd = number % 2 == 1;
        let life = Life {
            phase,
            wish: [None, Some(Wish::Run), Some(Wish::Sleep)][number % 3],
            reason: is_odd.then(|| "it's over".to_owned()),
        };
        Microvm {
            id: microvm_id(number),
            scope: image_arn().scope,
            image: image_arn(),
            version: version_number(1),
            endpoint_id: uuid(100 + number).parse().unwrap(),
            origin: match phase {
                Phase::Forking | Phase::ForkHook => Origin::Fork {
                    parent: microvm_id(2),
                },
                _ => Origin::Version,
            },
            terms: Arc::new(if is_odd { least_terms() } else { terms() }),
            started_at: at(15),
            life,
            generation: 1,
            activity: Activity {
                execs: is_odd,
                guest_cpu: !is_odd,
            },
            terminated_at: (phase == Phase::Terminated).then(|| at(21)),
        }
    };
    phases().into_iter().enumerate().map(microvm).collect()
}

pub(in super::super) fn connectors() -> Vec<Connector> {
    let active = Connector {
        id: connector_id(1),
        scope: image_arn().scope,
        name: "office".parse().unwrap(),
        state: ConnectorState::Active,
        reason: None,
        fault: None,
        operator_role: "arn:aws:iam::000000000007:role/x".to_owned(),
        latest_version: 1,
        last_version: 2,
        update_status: Some(UpdateStatus::Failed),
        update_reason: Some("no such subnet".to_owned()),
        update_fault: Some(ConnectorFault::InvalidSubnet),
        created_at: at(30),
        updated_at: at(31),
    };
    let failed = Connector {
        id: connector_id(2),
        name: "lab".parse().unwrap(),
        state: ConnectorState::Failed,
        reason: Some("no such group".to_owned()),
        fault: Some(ConnectorFault::InvalidSecurityGroup),
        update_status: None,
        update_reason: None,
        update_fault: None,
        ..active.clone()
    };
    vec![active, failed]
}

pub(in super::super) fn connector_versions() -> Vec<ConnectorVersion> {
    let active = ConnectorVersion {
        connector: connector_id(1),
        number: 1,
        egress: egress(),
        operator_role: "arn:aws:iam::000000000007:role/x".to_owned(),
        state: ConnectorState::Active,
        reason: None,
        fault: None,
        updated_at: at(32),
    };
    let failed = ConnectorVersion {
        number: 2,
        egress: least_egress(),
        state: ConnectorState::Failed,
        reason: Some("no such subnet".to_owned()),
        fault: Some(ConnectorFault::InternalError),
        ..active.clone()
    };
    vec![failed, active]
}

fn intents() -> Vec<Intent> {
    let of = |subject, what: &str, ms| Intent {
        subject,
        what: what.to_owned(),
        at: at(ms),
    };
    vec![
        of(IntentSubject::Microvm(microvm_id(0)), "Launch", 40),
        of(IntentSubject::Image(image_arn()), "Build", 41),
    ]
}

pub(super) fn records() -> Records {
    let policy = RolePolicy {
        name: "logs".to_owned(),
        document: r#"{"Statement":[]}"#.to_owned(),
    };
    let token = TokenUse {
        digest: [0xab; 32],
        resource: microvm_id(0).to_string(),
        at: at(5),
    };
    Records {
        accounts: vec![Account {
            id: account(),
            created_at: at(1),
        }],
        keys: vec![
            key("AKIAAAAAAAAAAAAAAAAA", KeyStatus::Active),
            key("AKIABBBBBBBBBBBBBBBB", KeyStatus::Disabled),
        ],
        roles: vec![role("app", Some("it's ours")), role("bare", None)],
        policies: vec![policy],
        attachments: vec![
            policy_arn("kept").to_string(),
            "arn:aws:iam::aws:policy/X".to_owned(),
        ],
        managed: vec![
            managed("kept", Some("it's ours"), 1),
            managed("spare", None, 0),
        ],
        managed_versions: managed_versions(),
        images: images(),
        versions: versions(),
        builds: builds(),
        microvms: microvms(),
        connectors: connectors(),
        connector_versions: connector_versions(),
        tags: tags(),
        token: Some(token),
        intents: intents(),
    }
}
