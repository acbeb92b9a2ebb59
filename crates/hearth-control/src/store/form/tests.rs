use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::arn::{ConnectorRef, ManagedConnector};
use crate::connector::{ComputeKind, ElasticIp, NetworkProtocol, VpcEgress};
use crate::hooks::{HookSetting, Hooks, ImageHooks, MicrovmHooks};
use crate::image::{
    Architecture, ArtifactUri, Environment, ImageSpec, Logging, MemoryTier, OsCapabilities,
};
use crate::microvm::{IdlePolicy, LaunchTerms, RunHookPayload, RunInput};

fn hooks() -> Hooks {
    let on = |timeout_s| HookSetting {
        enabled: Some(true),
        timeout_s,
    };
    let microvm = MicrovmHooks {
        run: on(Some(5)),
        resume: on(None),
        suspend: HookSetting {
            enabled: Some(false),
            timeout_s: None,
        },
        terminate: HookSetting::default(),
    };
    let image = ImageHooks {
        ready: on(Some(300)),
        validate: HookSetting::default(),
    };
    Hooks {
        port: Some(9000),
        microvm: Some(microvm),
        image: Some(image),
    }
}

/// With all of its members.
pub(in crate::store) fn spec() -> ImageSpec {
    ImageSpec {
        base: "arn:aws:lambda:us-east-1:aws:microvm-image:al2023-1"
            .parse()
            .unwrap(),
        base_version: Some(1),
        build_role_arn: "arn:aws:iam::000000000000:role/build".to_owned(),
        description: Some("a \"quoted\" text".to_owned()),
        artifact: ArtifactUri {
            bucket: "b".to_owned(),
            key: "k/e.zip".to_owned(),
        },
        logging: Some(Logging::CloudWatch {
            group: Some("/g".to_owned()),
            stream: None,
        }),
        egress: vec![
            "arn:aws:lambda:us-east-1:aws:network-connector:aws-network-connector:INTERNET_EGRESS"
                .parse()
                .unwrap(),
        ],
        cpu_architectures: Some(vec![Architecture::X86_64]),
        tier: MemoryTier::Mib4096,
        capabilities: OsCapabilities::All,
        hooks: Some(hooks()),
        environment: Some(Environment(BTreeMap::from([(
            "A".to_owned(),
            "b=c".to_owned(),
        )]))),
    }
}

/// With all of their members.
pub(in crate::store) fn terms() -> LaunchTerms {
    LaunchTerms {
        endpoint: "127.0.0.1:20000".to_owned(),
        tier: MemoryTier::Mib512,
        hooks: Some(hooks()),
        execution_role_arn: Some("arn:aws:iam::000000000000:role/run".to_owned()),
        idle_policy: Some(IdlePolicy {
            max_idle: Duration::from_secs(60),
            suspended: Duration::ZERO,
            auto_resume: true,
        }),
        max_duration: Duration::from_secs(28_800),
        ingress: vec![ConnectorRef::Managed {
            region: "us-east-1".parse().unwrap(),
            connector: ManagedConnector::AllIngress,
        }],
        egress: spec().egress,
        logging: Some(Logging::Disabled),
        run_input: RunInput {
            payload: Some(RunHookPayload("{}".to_owned())),
        },
    }
}

/// With all of its members.
pub(in crate::store) fn egress() -> VpcEgress {
    VpcEgress {
        subnet_ids: vec!["subnet-a".to_owned()],
        security_group_ids: None,
        protocol: NetworkProtocol::DualStack,
        compute: ComputeKind::Microvm,
        elastic_ip: Some(ElasticIp::None),
    }
}

#[test]
fn what_is_stored_comes_back() {
    let spec = spec();
    assert_eq!(
        ImageSpec::from_text(&spec.to_text().unwrap()).unwrap(),
        spec
    );

    let terms = terms();
    assert_eq!(
        LaunchTerms::from_text(&terms.to_text().unwrap()).unwrap(),
        terms
    );

    let egress = egress();
    assert_eq!(
        VpcEgress::from_text(&egress.to_text().unwrap()).unwrap(),
        egress
    );
}

#[test]
fn damage_is_an_error_and_never_a_guess() {
    assert!(ImageSpec::from_text("").is_err());
    assert!(ImageSpec::from_text("{}").is_err());
    let odd = spec().to_text().unwrap().replace("4096", "4097");
    assert!(ImageSpec::from_text(&odd).is_err());
}

/// What release 0.1 wrote, to the byte: a change here breaks every database that exists.
#[test]
fn the_form_of_release_0_1_is_kept() {
    let golden = r#"{"base":"arn:aws:lambda:us-east-1:aws:microvm-image:al2023-1","base_version":1,"build_role_arn":"arn:aws:iam::000000000000:role/build","description":"a \"quoted\" text","bucket":"b","key":"k/e.zip","logging":{"enabled":true,"group":"/g","stream":null},"egress":["arn:aws:lambda:us-east-1:aws:network-connector:aws-network-connector:INTERNET_EGRESS"],"architectures":["X86_64"],"memory_mib":4096,"all_capabilities":true,"hooks":{"port":9000,"microvm":{"run":[true,5],"resume":[true,null],"suspend":[false,null],"terminate":[null,null]},"image":{"ready":[true,300],"validate":[null,null]}},"environment":{"A":"b=c"}}"#;
    assert_eq!(spec().to_text().unwrap(), golden);
    assert_eq!(ImageSpec::from_text(golden).unwrap(), spec());
}
