use std::collections::{BTreeMap, BTreeSet};

use hearth_net::{Egress, Names};
use hearth_service::RuleSet;

use super::network::{DefaultEgress, Opening};
use super::quotas::AccountQuotas;
use super::registries::{Login, MirrorTable};
use super::*;

const SAMPLE: &str = include_str!("../../../../packaging/hearth.toml");
const DOCS: &str = include_str!("../../../../docs/configuration.md");

/// A configuration that has every key. Written out, so that a new member does not compile until it is here.
fn every_key() -> Config {
    Config {
        data: "/srv/hearth".into(),
        listen: "127.0.0.1:1".parse().unwrap(),
        proxies: vec!["192.0.2.7".parse().unwrap()],
        region: "eu-central-1".parse().unwrap(),
        host_limits: false,
        hook_timeout_scale: 3,
        users: UserRange(100_000..=199_999),
        tls: Tls {
            api: true,
            certificate: Some("/etc/hearth/tls/chain.pem".into()),
            key: Some("/etc/hearth/tls/key.pem".into()),
            names: vec!["hearth.example.org".to_owned()],
        },
        endpoints: Endpoints {
            ports: PortRange(5..=6),
            domain: Some("microvms.example.org".to_owned()),
            listen: Some("127.0.0.1:2".parse().unwrap()),
            limits: false,
        },
        images: Images {
            layer_cache_mib: 512,
            boot_templates: false,
            zip_mib: 100,
            content_mib: 200,
            entries: 300,
            layers_mib: 400,
            build_minutes: 5,
            builder_memory_mib: 600,
            aliases: BTreeMap::from([("a:1".to_owned(), "hearth/debian:12".to_owned())]),
        },
        registries: Registries {
            ca_bundle: Some("/etc/hearth/ca.pem".into()),
            credentials: BTreeMap::from([(
                "registry.example.org".to_owned(),
                Login {
                    user: "build".to_owned(),
                    password_file: "/etc/hearth/password".into(),
                    registry: Some("registry.example.org".to_owned()),
                    accounts: vec!["000000000000".to_owned()],
                    repositories: vec!["team".to_owned()],
                    insecure: true,
                },
            )]),
            mirrors: BTreeMap::from([(
                "docker.io".to_owned(),
                MirrorTable {
                    location: "mirror.example.org".to_owned(),
                    insecure: true,
                },
            )]),
        },
        s3: S3 {
            endpoint: Some("https://s3.example.org".to_owned()),
            region: Some("eu-central-1".to_owned()),
            access_key_id: Some("AKIAEXAMPLE".to_owned()),
            secret_access_key_file: Some("/etc/hearth/s3-secret".into()),
            ca_bundle: Some("/etc/hearth/s3-ca.pem".into()),
            accounts: BTreeMap::from([("000000000000".to_owned(), vec!["code".to_owned()])]),
        },
        network: Network {
            enabled: false,
            default_egress: DefaultEgress::None,
            name_servers: vec!["192.0.2.1:53".parse().unwrap()],
            subnets: openings("subnet-1"),
            security_groups: openings("sg-1"),
        },
        limits: Limits {
            disk_operations_per_second: 1000,
            disk_mib_per_second: 10,
            network_packets_per_second: 2000,
            network_mib_per_second: 20,
            unfinished_upload_days: 1,
        },
        memory: Memory {
            service_mib: 300,
            short_stall_ms: 1,
            short_available_percent: 2,
        },
        quotas: Quotas {
            microvms: 1,
            accounts: BTreeMap::from([(
                "000000000001".to_owned(),
                AccountQuotas {
                    microvms: Some(2),
                    ..AccountQuotas::default()
                },
            )]),
            ..Quotas::default()
        },
        metrics: Metrics {
            listen: Some("127.0.0.1:3".parse().unwrap()),
        },
    }
}

fn openings(name: &str) -> BTreeMap<String, Opening> {
    let egress = Egress {
        internet: true,
        rules: vec!["10.1.0.0/16:5432".parse().unwrap()],
        names: Names::Listed(vec!["pypi.org".parse().unwrap()]),
    };
    let accounts = BTreeSet::from(["000000000000".parse().unwrap()]);
    BTreeMap::from([(name.to_owned(), Opening(RuleSet { accounts, egress }))])
}

/// Tables whose keys are names that the user gives.
const NAMED: [&str; 6] = [
    "network.subnets",
    "network.security_groups",
    "registries.credentials",
    "registries.mirrors",
    "s3.accounts",
    "quotas.accounts",
];

/// Tables that are one key: what is in `aliases` is the user's, and quotas of an account have the keys of `[quotas]`.
const WHOLE: [&str; 2] = ["images.aliases", "quotas.accounts.NAME"];

/// Keys with the tables that they are in.
fn keys(config: &Config) -> BTreeSet<String> {
    fn collect(value: &toml::Value, place: &str, keys: &mut BTreeSet<String>) {
        match value {
            toml::Value::Table(table) if !WHOLE.contains(&place) => {
                for (name, value) in table {
                    let is_named = NAMED.contains(&place);
                    let name = if is_named { "NAME" } else { name };
                    let dot = if place.is_empty() { "" } else { "." };
                    collect(value, &format!("{place}{dot}{name}"), keys);
                }
            }
            _ => drop(keys.insert(place.to_owned())),
        }
    }
    let mut keys = BTreeSet::new();
    collect(&toml::Value::try_from(config).unwrap(), "", &mut keys);
    keys
}

fn parse(text: &str) -> Result<Config, toml::de::Error> {
    toml::from_str(text)
}

/// The sample with its commented keys turned on: `#key = value`, without a blank.
fn sample_with_everything() -> String {
    let is_key = |line: &str| line.starts_with('#') && !line.starts_with("# ");
    let lines = SAMPLE
        .lines()
        .map(|line| if is_key(line) { &line[1..] } else { line });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_sample_says_the_defaults() {
    assert_eq!(parse(SAMPLE).unwrap(), Config::default());
}

#[test]
fn the_sample_and_the_docs_have_every_key() {
    let known = keys(&every_key());
    let sample = parse(&sample_with_everything()).unwrap();
    assert_eq!(keys(&sample), known);
    for key in &known {
        assert!(
            DOCS.contains(&format!("| `{key}` |")),
            "{key} is not documented"
        );
    }
    let documented = DOCS.lines().filter_map(|line| {
        let (key, _) = line.strip_prefix("| `")?.split_once("` |")?;
        Some(key.to_owned())
    });
    assert_eq!(documented.collect::<BTreeSet<_>>(), known);
}

#[test]
fn what_is_printed_is_what_is_read() {
    for config in [Config::default(), every_key()] {
        assert_eq!(parse(&config.to_toml().unwrap()).unwrap(), config);
    }
}

#[test]
fn wrong_files_are_told_with_key_and_line() {
    let wrong = |text: &str| parse(text).unwrap_err().to_string();
    let told = wrong("lsten = \"127.0.0.1:1\"");
    assert!(told.contains("lsten") && told.contains("line 1"), "{told}");
    assert!(wrong("[endpoints]\nports = \"9-8\"").contains("FIRST-LAST"));
    assert!(wrong("region = \"?\"").contains("region"));
    assert!(wrong("[network.subnets.subnet-1]\nrules = [\"x\"]").contains("10.1.0.0/16:5432"));
    assert!(wrong("[network.subnets.subnet-1]\nnames = [\"http://x\"]").contains("pypi.org"));
    assert!(wrong("[network.subnets.subnet-1]\naccounts = [\"me\"]").contains("twelve digits"));
    assert!(wrong("[network]\ndefault_egress = \"all\"").contains("internet"));
    assert!(wrong("users = \"0-70000\"").contains("FIRST-LAST"));
    assert!(wrong("[limits]\ndisk_mib_per_second = -1").contains("disk_mib_per_second"));
    assert!(wrong("[quotas]\nmicrovms = -1").contains("microvms"));
    assert!(wrong("[quotas.accounts.x]\nmicrovm = 1").contains("microvms"));
    assert!(wrong("[endpoint]").contains("endpoints"));
}

#[test]
fn a_rule_set_is_the_first_accounts_unless_it_names_others() {
    let accounts = |text: &str| {
        let config = parse(&format!("[network.subnets.subnet-1]\n{text}")).unwrap();
        let sets = config.network.to_service().subnets;
        let accounts = sets["subnet-1"].accounts.iter();
        accounts.map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(accounts("internet = true"), ["000000000000"]);
    let others = accounts("accounts = [\"000000000001\", \"000000000002\"]");
    assert_eq!(others, ["000000000001", "000000000002"]);
}

#[test]
fn an_account_has_the_quotas_of_all_unless_it_has_its_own() {
    let text =
        "[quotas]\nmicrovms = 7\nimages = 8\n[quotas.accounts.\"000000000001\"]\nmicrovms = 9";
    let config = parse(text).unwrap();
    let (all, accounts) = (config.quotas.of_all(), config.quotas.of_accounts().unwrap());
    assert_eq!((all.microvms, all.images), (7, 8));
    let own = accounts[&"000000000001".parse().unwrap()];
    assert_eq!((own.microvms, own.images), (9, 8));
    assert_eq!(accounts.len(), 1);
}

#[test]
fn contradictions_are_found_before_a_port_opens() {
    let problem = |text: &str| {
        let config = parse(text).unwrap();
        let checked = config.check().and_then(|()| config.check_reach());
        checked.map_or_else(|error| error.to_string(), |()| String::new())
    };
    assert_eq!(problem(""), "");
    assert!(problem("[endpoints]\ndomain = \"x.org\"").contains("endpoints.listen"));
    assert!(problem("[endpoints]\nlisten = \"127.0.0.1:1\"").contains("endpoints.domain"));
    assert!(problem("listen = \"0.0.0.0:80\"").contains("tls.api"));
    assert_eq!(problem("listen = \"0.0.0.0:80\"\n[tls]\napi = true"), "");
    assert!(problem("[tls]\nkey = \"/k\"").contains("tls.certificate"));
    assert!(problem("[tls]\nnames = [\"https://x.org\"]").contains("https://x.org"));
    assert_eq!(problem("[tls]\nnames = [\"x.org\", \"::1\"]"), "");
    assert!(problem("listen = \"127.0.0.1:20001\"").contains("20001"));
    assert!(problem("[network.subnets.x]").contains("subnet-"));
    assert!(problem("users = \"100000-100001\"").contains("endpoints.ports"));
    assert!(problem("[limits]\nnetwork_packets_per_second = 5").contains("network_packets"));
    assert!(problem("[quotas]\nrequests_per_second = 0").contains("quotas.requests_per_second"));
    assert!(problem("[quotas.accounts.me]").contains("twelve digits"));
    let zero = "[quotas.accounts.\"000000000001\"]\nruns_per_second = 0";
    assert!(problem(zero).contains("000000000001"));
    assert!(problem("[images.aliases]\n\"\" = \"x\"").contains("empty"));
    assert!(problem("[images]\nlayers_mib = 20000").contains("images.layers_mib"));
    assert!(problem("[images]\nbuilder_memory_mib = 100").contains("images.builder_memory_mib"));
    assert!(problem("[images]\nbuild_minutes = 0").contains("images.build_minutes"));
}

#[test]
fn flags_lie_over_the_file() {
    use clap::Parser;
    let cli = crate::cli::Cli::parse_from([
        "hearth",
        "up",
        "--listen=127.0.0.1:7",
        "--endpoint-ports=8-9",
        "--image-alias=b=c",
        "--no-endpoint-limits",
    ]);
    let crate::cli::Command::Up(arguments) = cli.command else {
        panic!("it is up");
    };
    let file = parse("region = \"eu-west-1\"\n[images.aliases]\na = \"x\"\nb = \"x\"").unwrap();
    let config = file.under(&arguments);
    assert_eq!(config.listen.port(), 7);
    assert_eq!(config.region.as_str(), "eu-west-1");
    assert_eq!(config.endpoints.ports.0, 8..=9);
    assert!(!config.endpoints.limits);
    let aliases: Vec<_> = config.images.aliases.into_iter().collect();
    let pair = |name: &str, base: &str| (name.to_owned(), base.to_owned());
    assert_eq!(aliases, [pair("a", "x"), pair("b", "c")]);
}

#[test]
fn a_file_that_was_named_has_to_be_there() {
    let nowhere = Path::new("/nonexistent/hearth.toml");
    assert!(matches!(
        Config::load(Some(nowhere)),
        Err(ConfigError::Read { .. })
    ));
}

#[test]
fn ports_are_a_range_that_goes_up() {
    assert_eq!("1-2".parse::<PortRange>().unwrap().0, 1..=2);
    for bad in ["", "5", "0-3", "9-8", "1-70000"] {
        assert!(bad.parse::<PortRange>().is_err(), "{bad}");
    }
}

#[test]
fn hooks_have_one_to_a_hundred_times_their_timeout() {
    for (scale, is_right) in [(0, false), (1, true), (100, true), (101, false)] {
        let config = Config {
            hook_timeout_scale: scale,
            ..Config::default()
        };
        assert_eq!(config.check().is_ok(), is_right, "{scale}");
    }
}
