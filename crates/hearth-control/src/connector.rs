//! Network connectors: named, versioned sets of rules for the way out.

use std::collections::{BTreeMap, BTreeSet};

use crate::arn::{ConnectorArn, Scope};
use crate::id::{AccountId, ConnectorId, ConnectorName};
use crate::image::Tags;
use crate::request::RequestToken;
use crate::time::Timestamp;

/// Where a connector is in its life. [`crate::machine::connector`] draws it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConnectorState {
    /// Its first version is being checked.
    Pending,
    /// It can be used.
    Active,
    /// Its first version was not accepted.
    Failed,
    /// It is being removed.
    Deleting,
    /// Removing it failed; it can be tried again.
    DeleteFailed,
}

/// How the last update of a connector went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UpdateStatus {
    /// It is in force.
    Successful,
    /// It was not accepted; the version before it is in force.
    Failed,
    /// It is being checked.
    InProgress,
}

/// Why a connector's configuration was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConnectorFault {
    /// A subnet that the operator has not defined.
    InvalidSubnet,
    /// A security group that the operator has not defined.
    InvalidSecurityGroup,
    /// A fault of the service.
    InternalError,
}

/// What a connector allows: names of rule sets that the operator defined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VpcEgress {
    /// The subnets; 1-16.
    pub subnet_ids: Vec<String>,
    /// The security groups; 0-16. `None` when the caller left them out.
    pub security_group_ids: Option<Vec<String>>,
    /// The address families.
    pub protocol: NetworkProtocol,
    /// What kind of compute it serves.
    pub compute: ComputeKind,
    /// How its public address is chosen, as the caller said.
    pub elastic_ip: Option<ElasticIp>,
}

/// Address families of a connector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NetworkProtocol {
    /// IPv4 alone.
    Ipv4,
    /// IPv4 and IPv6.
    DualStack,
}

/// What kind of compute a connector serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ComputeKind {
    /// MicroVMs.
    Microvm,
    /// Web functions, which Hearth does not have; the connector is accepted and useless.
    WebFunction,
}

/// How a connector gets its public address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ElasticIp {
    /// None of its own.
    None,
    /// The service gives one.
    ServiceManaged,
}

/// A network connector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connector {
    /// Its id, which its ARN carries.
    pub id: ConnectorId,
    /// Who owns it.
    pub scope: Scope,
    /// Its name, unique in its account and region.
    pub name: ConnectorName,
    /// Where it is in its life.
    pub state: ConnectorState,
    /// Why it is there.
    pub reason: Option<String>,
    /// Why it FAILED.
    pub fault: Option<ConnectorFault>,
    /// The role that AWS would use; stored as said.
    pub operator_role: String,
    /// The newest version that was accepted, or the first one.
    pub latest_version: u32,
    /// The number that was given out last.
    pub last_version: u32,
    /// How the last update went; `None` before the first.
    pub update_status: Option<UpdateStatus>,
    /// Why the last update went so.
    pub update_reason: Option<String>,
    /// Why the last update was not accepted.
    pub update_fault: Option<ConnectorFault>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl Connector {
    /// Its ARN without a version.
    #[must_use]
    pub fn arn(&self) -> ConnectorArn {
        ConnectorArn {
            scope: self.scope.clone(),
            id: self.id,
            version: None,
        }
    }

    /// Its ARN with a version.
    #[must_use]
    pub fn version_arn(&self, version: u32) -> ConnectorArn {
        ConnectorArn {
            version: Some(version),
            ..self.arn()
        }
    }
}

/// One version of a connector. Its configuration never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectorVersion {
    /// The connector it belongs to.
    pub connector: ConnectorId,
    /// Its number, from one.
    pub number: u32,
    /// What it allows.
    pub egress: VpcEgress,
    /// The role it was made with.
    pub operator_role: String,
    /// Whether it was accepted.
    pub state: ConnectorState,
    /// Why it is in that state.
    pub reason: Option<String>,
    /// Why it FAILED.
    pub fault: Option<ConnectorFault>,
    /// When it was made or last changed.
    pub updated_at: Timestamp,
}

/// A connector with one of its versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectorWithVersion {
    /// The connector.
    pub connector: Connector,
    /// The version that was asked for or made.
    pub version: ConnectorVersion,
}

/// A connector as a caller names it: by id, name or ARN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectorKey {
    /// By id.
    Id(ConnectorId),
    /// By name.
    Name(ConnectorName),
    /// By ARN, perhaps with a version.
    Arn(ConnectorArn),
}

/// What `CreateNetworkConnector` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateConnector {
    /// Its name.
    pub name: ConnectorName,
    /// What it allows.
    pub egress: VpcEgress,
    /// Its role.
    pub operator_role: String,
    /// Its first tags.
    pub tags: Tags,
    /// Makes the call safe to repeat.
    pub client_token: RequestToken,
}

/// What `UpdateNetworkConnector` asks for; what is left out stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateConnector {
    /// Which.
    pub key: ConnectorKey,
    /// What it allows from now on.
    pub egress: Option<VpcEgress>,
    /// Its role from now on.
    pub operator_role: Option<String>,
    /// Makes the call safe to repeat.
    pub client_token: Option<RequestToken>,
}

/// The rule sets that the operator defined, by name, with the accounts that may name each. What they mean is the host's business.
#[derive(Debug, Clone, Default)]
pub struct RuleBook {
    /// Subnets.
    pub subnets: BTreeMap<String, BTreeSet<AccountId>>,
    /// Security groups.
    pub security_groups: BTreeMap<String, BTreeSet<AccountId>>,
}

impl RuleBook {
    /// Checks that an account's configuration names nothing that is not defined for it. What is defined for others looks the same.
    ///
    /// # Errors
    ///
    /// What is wrong, and a sentence that names it.
    pub fn check(
        &self,
        account: AccountId,
        egress: &VpcEgress,
    ) -> Result<(), (ConnectorFault, String)> {
        let unknown = |names: &[String], sets: &BTreeMap<String, BTreeSet<AccountId>>| {
            let is_its_own = |name: &String| {
                let accounts = sets.get(name);
                accounts.is_some_and(|accounts| accounts.contains(&account))
            };
            names.iter().find(|name| !is_its_own(name)).cloned()
        };
        if let Some(subnet) = unknown(&egress.subnet_ids, &self.subnets) {
            let reason = format!("The subnet ID '{subnet}' does not exist");
            return Err((ConnectorFault::InvalidSubnet, reason));
        }
        let groups = egress.security_group_ids.as_deref().unwrap_or_default();
        if let Some(group) = unknown(groups, &self.security_groups) {
            let reason = format!("The security group ID '{group}' does not exist");
            return Err((ConnectorFault::InvalidSecurityGroup, reason));
        }
        Ok(())
    }
}
