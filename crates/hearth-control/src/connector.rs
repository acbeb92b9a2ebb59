//! Network connectors: named, versioned sets of egress rules.

use std::collections::{BTreeMap, BTreeSet};

use crate::arn::{ConnectorArn, Scope};
use crate::id::{AccountId, ConnectorId, ConnectorName};
use crate::image::Tags;
use crate::request::RequestToken;
use crate::time::Timestamp;

/// The state of a connector. [`crate::machine::connector`] draws the transitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConnectorState {
    /// The first version is being checked.
    Pending,
    /// The connector can be used.
    Active,
    /// The first version was rejected.
    Failed,
    /// The connector is being removed.
    Deleting,
    /// The removal failed. It can be retried.
    DeleteFailed,
}

/// The outcome of the last update of a connector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UpdateStatus {
    /// The update is in force.
    Successful,
    /// The update was rejected. The version before it is still in force.
    Failed,
    /// The update is being checked.
    InProgress,
}

/// Why the configuration of a connector was rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConnectorFault {
    /// The configuration names a subnet that the operator has not defined for the account.
    InvalidSubnet,
    /// The configuration names a security group that the operator has not defined for the account.
    InvalidSecurityGroup,
    /// The service failed.
    InternalError,
}

/// The configuration of a connector: names of rule sets that the operator defined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VpcEgress {
    /// The subnets, 1-16.
    pub subnet_ids: Vec<String>,
    /// The security groups, 0-16. `None` if the caller left the member out.
    pub security_group_ids: Option<Vec<String>>,
    /// The address families that traffic may use.
    pub protocol: NetworkProtocol,
    /// The kind of compute that the connector serves.
    pub compute: ComputeKind,
    /// How the public address is chosen. Stored and answered; Hearth does not act on it.
    pub elastic_ip: Option<ElasticIp>,
}

/// The address families of a connector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NetworkProtocol {
    /// IPv4 alone.
    Ipv4,
    /// IPv4 and IPv6.
    DualStack,
}

/// The kind of compute that a connector serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ComputeKind {
    /// MicroVMs.
    Microvm,
    /// Web functions. Hearth has none: such a connector is accepted and cannot be used.
    WebFunction,
}

/// How a connector gets its public address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ElasticIp {
    /// The connector has no public address of its own.
    None,
    /// The service provides the address.
    ServiceManaged,
}

/// A network connector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connector {
    /// The id of the connector, which its ARN carries.
    pub id: ConnectorId,
    /// The account and region that own the connector.
    pub scope: Scope,
    /// The name of the connector, unique in its account and region.
    pub name: ConnectorName,
    /// The state of the connector.
    pub state: ConnectorState,
    /// The reason for the state: a sentence.
    pub reason: Option<String>,
    /// The error code, if the connector is FAILED.
    pub fault: Option<ConnectorFault>,
    /// The role that AWS would use. Stored and answered; Hearth does not act on it.
    pub operator_role: String,
    /// The newest version that was accepted, or the first version.
    pub latest_version: u32,
    /// The highest version number used so far, those of rejected versions included.
    pub last_version: u32,
    /// The outcome of the last update. `None` before the first update.
    pub update_status: Option<UpdateStatus>,
    /// The reason for that outcome: a sentence.
    pub update_reason: Option<String>,
    /// The error code of the last update, if it was rejected.
    pub update_fault: Option<ConnectorFault>,
    /// When the connector was created.
    pub created_at: Timestamp,
    /// When the connector last changed.
    pub updated_at: Timestamp,
}

impl Connector {
    /// The ARN of the connector without a version.
    #[must_use]
    pub fn arn(&self) -> ConnectorArn {
        ConnectorArn {
            scope: self.scope.clone(),
            id: self.id,
            version: None,
        }
    }

    /// The ARN of one version of the connector.
    #[must_use]
    pub fn version_arn(&self, version: u32) -> ConnectorArn {
        ConnectorArn {
            version: Some(version),
            ..self.arn()
        }
    }
}

/// One version of a connector. The configuration of a version never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectorVersion {
    /// The connector that the version belongs to.
    pub connector: ConnectorId,
    /// The version number, counted from one.
    pub number: u32,
    /// The configuration.
    pub egress: VpcEgress,
    /// The role of the connector in this version.
    pub operator_role: String,
    /// Whether the version was accepted.
    pub state: ConnectorState,
    /// The reason for the state: a sentence.
    pub reason: Option<String>,
    /// The error code, if the version is FAILED.
    pub fault: Option<ConnectorFault>,
    /// When the version was created or last changed.
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

/// The input of `CreateNetworkConnector`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateConnector {
    /// The name of the connector.
    pub name: ConnectorName,
    /// The configuration.
    pub egress: VpcEgress,
    /// The role of the connector.
    pub operator_role: String,
    /// The tags of the new connector.
    pub tags: Tags,
    /// The client token, which makes the call idempotent.
    pub client_token: RequestToken,
}

/// The input of `UpdateNetworkConnector`. Members that are `None` stay as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateConnector {
    /// The connector.
    pub key: ConnectorKey,
    /// The new configuration.
    pub egress: Option<VpcEgress>,
    /// The new role.
    pub operator_role: Option<String>,
    /// The client token, which makes the call idempotent.
    pub client_token: Option<RequestToken>,
}

/// The rule sets that the operator defined, by name, each with the accounts that may use it. The host enforces the
/// rules; here only their names are known.
#[derive(Debug, Clone, Default)]
pub struct RuleBook {
    /// The subnets, each with the accounts that may name it.
    pub subnets: BTreeMap<String, BTreeSet<AccountId>>,
    /// The security groups, each with the accounts that may name it.
    pub security_groups: BTreeMap<String, BTreeSet<AccountId>>,
}

impl RuleBook {
    /// Checks that a configuration names only rule sets that are defined for the account. A rule set of another
    /// account and one that does not exist give the same answer.
    ///
    /// # Errors
    ///
    /// The code of the first violation, and a sentence for callers that names the rule set.
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
