//! `[endpoints]`: names, addresses and limits of endpoints.

use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::string_form;

/// The table `[endpoints]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Endpoints {
    /// Range of loopback ports, one for each microVM.
    #[serde(with = "string_form")]
    pub(crate) ports: PortRange,
    /// Domain of endpoints, which are then named `<uuid>.DOMAIN` instead of having ports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) domain: Option<String>,
    /// Address on which endpoints with a domain listen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) listen: Option<SocketAddr>,
    /// Whether connections, bandwidth and requests are limited by size tier, as on AWS.
    pub(crate) limits: bool,
}

impl Default for Endpoints {
    fn default() -> Self {
        Self {
            ports: PortRange(20_000..=20_063),
            domain: None,
            listen: None,
            limits: true,
        }
    }
}

impl Endpoints {
    pub(super) fn problem(&self) -> Option<String> {
        match (&self.domain, self.listen) {
            (Some(_), None) => {
                Some("endpoints.domain needs endpoints.listen: where they all listen".to_owned())
            }
            (None, Some(_)) => {
                Some("endpoints.listen needs endpoints.domain; without one, endpoints have ports of the loopback".to_owned())
            }
            _ => None,
        }
    }
}

/// A range of ports, written as `20000-20063`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PortRange(pub(crate) RangeInclusive<u16>);

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0.start(), self.0.end())
    }
}

impl FromStr for PortRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text
            .split_once('-')
            .and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
        match parsed {
            Some((first, last)) if 0 < first && first <= last => Ok(Self(first..=last)),
            _ => Err("write FIRST-LAST, for example 20000-20063".to_owned()),
        }
    }
}
