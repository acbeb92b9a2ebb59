//! Resource names as AWS writes them, for the resources that Hearth has.
//!
//! ```text
//! arn:aws:lambda:<region>:<account>:microvm-image:<name>
//! arn:aws:lambda:<region>:aws:microvm-image:<name>                       managed base image
//! arn:aws:lambda:<region>:<account>:network-connector:nc-<uuid>[:<n>]    own connector [, version n]
//! arn:aws:lambda:<region>:aws:network-connector:aws-network-connector:<NAME>
//! ```

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::id::{AccountId, ConnectorId, ImageName, Region};

/// The only partition that Hearth knows.
const PARTITION: &str = "aws";
/// Stands in place of an account number where the resource is the service's own.
const SERVICE_ACCOUNT: &str = "aws";
const IMAGE: &str = "microvm-image";
const CONNECTOR: &str = "network-connector";
const MANAGED_CONNECTOR: &str = "aws-network-connector";

/// Why a text does not name a resource of the wanted kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ArnError {
    /// The text is not an ARN at all.
    #[error("an ARN starts with 'arn:'")]
    NotAnArn,
    /// The text is an ARN with parts missing, of another partition or of another service.
    #[error("not an ARN of this service")]
    Foreign,
    /// The ARN names a resource of another kind, or its name is not one that such a resource can have.
    #[error("not an ARN of this kind of resource")]
    Resource,
}

/// The account and region that own a resource, or that a call is made for. A call reaches resources of its own scope
/// only.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scope {
    /// The account.
    pub account: AccountId,
    /// The region.
    pub region: Region,
}

/// The fields of `arn:aws:lambda:<region>:<owner>:<resource>`.
struct Fields<'a> {
    region: Region,
    owner: &'a str,
    resource: &'a str,
}

fn split(text: &str) -> Result<Fields<'_>, ArnError> {
    let rest = text.strip_prefix("arn:").ok_or(ArnError::NotAnArn)?;
    let mut parts = rest.splitn(5, ':');
    let mut part = || parts.next().ok_or(ArnError::Foreign);
    let (partition, service, region, owner, resource) =
        (part()?, part()?, part()?, part()?, part()?);
    if partition != PARTITION || service != "lambda" {
        return Err(ArnError::Foreign);
    }
    let region = region.parse().map_err(|_| ArnError::Foreign)?;
    Ok(Fields {
        region,
        owner,
        resource,
    })
}

fn owner_scope(fields: &Fields<'_>) -> Result<Scope, ArnError> {
    let account = fields.owner.parse().map_err(|_| ArnError::Foreign)?;
    Ok(Scope {
        account,
        region: fields.region.clone(),
    })
}

/// The ARN of an image of an account.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageArn {
    /// The account and region that own the image.
    pub scope: Scope,
    /// The name of the image.
    pub name: ImageName,
}

impl ImageArn {
    /// The log group of the image's builds and microVMs when no other one is named (facts section 11, measured).
    #[must_use]
    pub fn log_group(&self) -> String {
        format!("/aws/lambda-microvms/{}", self.name)
    }
}

impl fmt::Display for ImageArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Scope { account, region } = &self.scope;
        write!(
            f,
            "arn:{PARTITION}:lambda:{region}:{account}:{IMAGE}:{}",
            self.name
        )
    }
}

impl FromStr for ImageArn {
    type Err = ArnError;

    fn from_str(text: &str) -> Result<Self, ArnError> {
        let fields = split(text)?;
        let name = fields
            .resource
            .strip_prefix(IMAGE)
            .and_then(|rest| rest.strip_prefix(':'));
        let name = name
            .and_then(|name| name.parse().ok())
            .ok_or(ArnError::Resource)?;
        Ok(Self {
            scope: owner_scope(&fields)?,
            name,
        })
    }
}

/// The ARN of a base image that the service itself provides.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ManagedImageArn {
    /// The region that the image is offered in.
    pub region: Region,
    /// The name of the image, such as `al2023-1` or `debian12-1`.
    pub name: ImageName,
}

impl fmt::Display for ManagedImageArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "arn:{PARTITION}:lambda:{}:{SERVICE_ACCOUNT}:{IMAGE}:{}",
            self.region, self.name
        )
    }
}

impl FromStr for ManagedImageArn {
    type Err = ArnError;

    fn from_str(text: &str) -> Result<Self, ArnError> {
        let fields = split(text)?;
        let name = fields
            .resource
            .strip_prefix(IMAGE)
            .and_then(|rest| rest.strip_prefix(':'));
        let name = name
            .and_then(|name| name.parse().ok())
            .ok_or(ArnError::Resource)?;
        if fields.owner != SERVICE_ACCOUNT {
            return Err(ArnError::Foreign);
        }
        Ok(Self {
            region: fields.region,
            name,
        })
    }
}

/// The ARN of a network connector of an account, or of one version of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectorArn {
    /// The account and region that own the connector.
    pub scope: Scope,
    /// The id of the connector. The name is not part of the ARN.
    pub id: ConnectorId,
    /// The version, if the ARN is qualified. Versions count from one.
    pub version: Option<u32>,
}

impl fmt::Display for ConnectorArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Scope { account, region } = &self.scope;
        write!(
            f,
            "arn:{PARTITION}:lambda:{region}:{account}:{CONNECTOR}:{}",
            self.id
        )?;
        match self.version {
            Some(version) => write!(f, ":{version}"),
            None => Ok(()),
        }
    }
}

impl FromStr for ConnectorArn {
    type Err = ArnError;

    fn from_str(text: &str) -> Result<Self, ArnError> {
        let fields = split(text)?;
        let rest = fields
            .resource
            .strip_prefix(CONNECTOR)
            .and_then(|rest| rest.strip_prefix(':'));
        let rest = rest.ok_or(ArnError::Resource)?;
        let (id, version) = match rest.split_once(':') {
            Some((id, version)) => (id, Some(connector_version(version)?)),
            None => (rest, None),
        };
        let id = id.parse().map_err(|_| ArnError::Resource)?;
        Ok(Self {
            scope: owner_scope(&fields)?,
            id,
            version,
        })
    }
}

fn connector_version(text: &str) -> Result<u32, ArnError> {
    let canonical = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    if canonical {
        text.parse().map_err(|_| ArnError::Resource)
    } else {
        Err(ArnError::Resource)
    }
}

/// The network connectors that the service itself provides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ManagedConnector {
    /// HTTP and a shell through the endpoint.
    AllIngress,
    /// HTTP through the endpoint.
    HttpIngress,
    /// No ingress.
    NoIngress,
    /// A shell through the endpoint.
    ShellIngress,
    /// HTTP through the endpoint, and CORS preflights without a token. AWS has no such connector.
    CorsIngress,
    /// TCP to the internet.
    InternetEgress,
    /// No egress. AWS has no such connector.
    NoEgress,
}

impl ManagedConnector {
    /// Every managed connector.
    pub const ALL: [Self; 7] = [
        Self::AllIngress,
        Self::HttpIngress,
        Self::NoIngress,
        Self::ShellIngress,
        Self::CorsIngress,
        Self::InternetEgress,
        Self::NoEgress,
    ];

    /// The last field of the connector's ARN.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AllIngress => "ALL_INGRESS",
            Self::HttpIngress => "HTTP_INGRESS",
            Self::NoIngress => "NO_INGRESS",
            Self::ShellIngress => "SHELL_INGRESS",
            Self::CorsIngress => "CORS_INGRESS",
            Self::InternetEgress => "INTERNET_EGRESS",
            Self::NoEgress => "NO_EGRESS",
        }
    }

    /// Whether the connector is about ingress: allows it or denies it.
    #[must_use]
    pub const fn is_ingress(self) -> bool {
        !matches!(self, Self::InternetEgress | Self::NoEgress)
    }
}

/// A connector as callers name it at launch: managed by the service, or owned by an account.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ConnectorRef {
    /// A connector of the service.
    Managed {
        /// The region in the ARN.
        region: Region,
        /// The connector.
        connector: ManagedConnector,
    },
    /// A connector of an account.
    Own(ConnectorArn),
}

/// Why a text names no connector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ConnectorRefError {
    /// The text is not the ARN of a connector.
    #[error("malformed network connector ARN")]
    Malformed,
    /// The text has the form of a managed connector's ARN, but no managed connector has that name.
    #[error("unrecognized managed network connector")]
    UnknownManaged,
}

impl fmt::Display for ConnectorRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Managed { region, connector } => write!(
                f,
                "arn:{PARTITION}:lambda:{region}:{SERVICE_ACCOUNT}:{CONNECTOR}:{MANAGED_CONNECTOR}:{}",
                connector.name()
            ),
            Self::Own(arn) => arn.fmt(f),
        }
    }
}

impl FromStr for ConnectorRef {
    type Err = ConnectorRefError;

    fn from_str(text: &str) -> Result<Self, ConnectorRefError> {
        let fields = split(text).map_err(|_| ConnectorRefError::Malformed)?;
        if fields.owner != SERVICE_ACCOUNT {
            return text
                .parse()
                .map(Self::Own)
                .map_err(|_| ConnectorRefError::Malformed);
        }
        let mut resource = fields.resource.split(':');
        if (resource.next(), resource.next()) != (Some(CONNECTOR), Some(MANAGED_CONNECTOR)) {
            return Err(ConnectorRefError::Malformed);
        }
        let (Some(name), None) = (resource.next(), resource.next()) else {
            return Err(ConnectorRefError::Malformed);
        };
        let connector = ManagedConnector::ALL
            .into_iter()
            .find(|connector| connector.name() == name);
        let connector = connector.ok_or(ConnectorRefError::UnknownManaged)?;
        Ok(Self::Managed {
            region: fields.region,
            connector,
        })
    }
}

/// The ARN of a resource that can have tags.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TaggedArn {
    /// An image.
    Image(ImageArn),
    /// A network connector.
    Connector(ConnectorArn),
}

impl TaggedArn {
    /// The account and region that own the resource.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        match self {
            Self::Image(arn) => &arn.scope,
            Self::Connector(arn) => &arn.scope,
        }
    }

    /// The ARN without a version: tags belong to a connector, not to one of its versions.
    pub(crate) fn unqualified(&self) -> Self {
        match self {
            Self::Image(_) => self.clone(),
            Self::Connector(arn) => Self::Connector(ConnectorArn {
                version: None,
                ..arn.clone()
            }),
        }
    }
}

impl fmt::Display for TaggedArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image(arn) => arn.fmt(f),
            Self::Connector(arn) => arn.fmt(f),
        }
    }
}

impl FromStr for TaggedArn {
    type Err = ArnError;

    fn from_str(text: &str) -> Result<Self, ArnError> {
        match text.parse::<ImageArn>() {
            Ok(arn) => Ok(Self::Image(arn)),
            Err(ArnError::Resource) => text.parse().map(Self::Connector),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests;
