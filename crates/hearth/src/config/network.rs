//! `[network]`: networks of microVMs and builds.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use hearth_control::id::AccountId;
use hearth_net::{Domain, Egress, Names, Rule};
use hearth_service::{NetworkConfig, RuleSet, RuleSets};
use serde::{Deserialize, Serialize};

/// The table `[network]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Network {
    /// Whether microVMs and builds have a network card at all.
    pub(crate) enabled: bool,
    /// Egress of microVMs and builds without a connector.
    pub(crate) default_egress: DefaultEgress,
    /// Name servers to which guests' queries are forwarded; empty means the host's own servers.
    pub(crate) name_servers: Vec<SocketAddr>,
    /// Egress rules of each `subnet-...` in a connector.
    pub(crate) subnets: BTreeMap<String, Opening>,
    /// Egress rules of each `sg-...` in a connector.
    pub(crate) security_groups: BTreeMap<String, Opening>,
}

/// Egress if no connector is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DefaultEgress {
    /// The internet, as on AWS.
    Internet,
    /// Nothing.
    None,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            enabled: true,
            default_egress: DefaultEgress::Internet,
            name_servers: Vec::new(),
            subnets: BTreeMap::new(),
            security_groups: BTreeMap::new(),
        }
    }
}

impl Network {
    pub(super) fn problem(&self) -> Option<String> {
        let wrong = |sets: &BTreeMap<String, Opening>, table: &str, beginning: &str| {
            let name = sets.keys().find(|name| !name.starts_with(beginning))?;
            Some(format!(
                "network.{table}: \"{name}\" does not begin with {beginning}, so no connector can name it"
            ))
        };
        wrong(&self.subnets, "subnets", "subnet-")
            .or_else(|| wrong(&self.security_groups, "security_groups", "sg-"))
    }

    /// Converts the table for the service.
    pub(crate) fn to_service(&self) -> NetworkConfig {
        let sets = |sets: &BTreeMap<String, Opening>| -> RuleSets {
            let sets = sets.iter();
            sets.map(|(name, opening)| (name.clone(), opening.0.clone()))
                .collect()
        };
        NetworkConfig {
            is_off: !self.enabled,
            is_closed_by_default: self.default_egress == DefaultEgress::None,
            name_servers: self.name_servers.clone(),
            subnets: sets(&self.subnets),
            security_groups: sets(&self.security_groups),
        }
    }
}

/// The name that stands for all names.
const EVERY_NAME: &str = "*";

/// Egress rules of one name in a connector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "OpeningTable", into = "OpeningTable")]
pub(crate) struct Opening(pub(crate) RuleSet);

/// The written form of [`Opening`].
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct OpeningTable {
    /// The accounts whose connectors may name it; the first account if there are none.
    accounts: Vec<String>,
    /// TCP to every public address.
    internet: bool,
    /// Networks and ports.
    rules: Vec<Rule>,
    /// Domains whose names are resolved. The resolved addresses are opened.
    names: Vec<String>,
}

impl TryFrom<OpeningTable> for Opening {
    type Error = String;

    fn try_from(table: OpeningTable) -> Result<Self, String> {
        let names = if table.names.iter().any(|name| name == EVERY_NAME) {
            Names::All
        } else if table.names.is_empty() {
            Names::None
        } else {
            let domains: Result<Vec<Domain>, _> =
                table.names.iter().map(|name| name.parse()).collect();
            Names::Listed(domains.map_err(|error| error.to_string())?)
        };
        let accounts: Result<BTreeSet<_>, _> =
            table.accounts.iter().map(|text| account(text)).collect();
        let mut accounts = accounts?;
        if accounts.is_empty() {
            accounts.insert(AccountId::FIRST);
        }
        let egress = Egress {
            internet: table.internet,
            rules: table.rules,
            names,
        };
        Ok(Self(RuleSet { accounts, egress }))
    }
}

impl From<Opening> for OpeningTable {
    fn from(opening: Opening) -> Self {
        let RuleSet { accounts, egress } = opening.0;
        Self {
            accounts: accounts.iter().map(ToString::to_string).collect(),
            internet: egress.internet,
            rules: egress.rules,
            names: match egress.names {
                Names::None => Vec::new(),
                Names::All => vec![EVERY_NAME.to_owned()],
                Names::Listed(domains) => domains.into_iter().map(String::from).collect(),
            },
        }
    }
}

fn account(text: &str) -> Result<AccountId, String> {
    let parsed = text.parse();
    parsed.map_err(|_| format!("\"{text}\" is not an account's number of twelve digits"))
}
