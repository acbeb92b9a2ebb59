//! What a microVM may connect to, as data.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::str::FromStr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::dns_name::DnsName;

/// Networks that no microVM can reach unless a [`Rule`] opens them: the host's own networks, other microVMs, metadata
/// services, and everything that is not a unicast address (special-purpose registry of RFC 6890).
pub const CLOSED: &[&str] = &[
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "224.0.0.0/3",
];

/// What one microVM may connect to. Everything else is closed, and IPv6 is always closed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Egress {
    /// Whether TCP to every public address is open. UDP stays closed, as on AWS (facts section 8).
    pub internet: bool,
    /// What is open besides, also in the [`CLOSED`] networks.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// The names that the resolver answers, and whether answers open addresses.
    #[serde(default)]
    pub names: Names,
}

/// The names that the microVM's resolver answers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Names {
    /// The resolver answers no names.
    #[default]
    None,
    /// The resolver answers all names. Answers open no addresses.
    All,
    /// The resolver answers these domains and the names below them. An answer opens TCP to its public addresses for
    /// as long as it may be cached.
    Listed(Vec<Domain>),
}

/// A destination that is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rule {
    /// The destination network.
    pub network: Ipv4Net,
    /// The protocol.
    pub protocol: Protocol,
    /// The first and last port.
    pub ports: (u16, u16),
}

/// A transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// A domain name in lower case, without a dot at its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Domain(String);

/// A text is not a rule or not a domain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EgressError {
    /// The text is not a rule.
    #[error(
        "{0:?} is no rule: write NETWORK, NETWORK:PORT or NETWORK:FIRST-LAST, and /udp behind it for UDP, for example 10.1.0.0/16:5432"
    )]
    Rule(String),
    /// The text is not a domain name.
    #[error("{0:?} is no domain name: write it without scheme, port or star, for example pypi.org")]
    Domain(String),
}

impl Egress {
    /// Nothing is open.
    #[must_use]
    pub fn closed() -> Self {
        Self::default()
    }

    /// What the managed connector `INTERNET_EGRESS` opens.
    #[must_use]
    pub fn internet() -> Self {
        Self {
            internet: true,
            rules: Vec::new(),
            names: Names::All,
        }
    }

    /// Whether a guest with this egress may connect to `address` by TCP after it looked up `name`. For services of
    /// the host that connect for a guest: they must reach no more than the rules of the guest's own network allow.
    #[must_use]
    pub fn opens(&self, name: Option<&str>, address: SocketAddrV4) -> bool {
        let (ip, port) = (*address.ip(), address.port());
        let is_closed = |network: &&str| {
            let network: Result<Ipv4Net, _> = network.parse();
            // An entry that did not parse would close everything, which is the safe failure.
            network.map_or(true, |network| network.contains(&ip))
        };
        let is_public = !CLOSED.iter().any(is_closed);
        let is_opened_by_name = match &self.names {
            Names::Listed(_) => {
                let name = name.map(|name| DnsName::of_labels(name.split('.').map(str::as_bytes)));
                name.is_some_and(|name| self.names.allow(&name))
            }
            Names::None | Names::All => false,
        };
        let is_opened_by_rule = self.rules.iter().any(|rule| {
            rule.protocol == Protocol::Tcp
                && rule.network.contains(&ip)
                && (rule.ports.0..=rule.ports.1).contains(&port)
        });
        is_opened_by_rule || is_public && (self.internet || is_opened_by_name)
    }
}

impl Names {
    /// Whether a question for this name is answered.
    pub(crate) fn allow(&self, name: &DnsName) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Listed(domains) => domains.iter().any(|domain| domain.contains(name)),
        }
    }
}

impl Domain {
    /// Whether a name is this domain or below it. Labels are compared one by one: `evil.pypi` as one label, with a
    /// dot in it, is not below `pypi`.
    fn contains(&self, name: &DnsName) -> bool {
        name.ends_with(self.0.split('.').map(str::as_bytes))
    }
}

impl FromStr for Rule {
    type Err = EgressError;

    fn from_str(text: &str) -> Result<Self, EgressError> {
        let parse = || {
            let (rest, protocol) = match text.rsplit_once('/') {
                Some((rest, "udp")) => (rest, Protocol::Udp),
                Some((rest, "tcp")) => (rest, Protocol::Tcp),
                _ => (text, Protocol::Tcp),
            };
            let (network, ports) = match rest.split_once(':') {
                None => (rest, (0, u16::MAX)),
                Some((network, ports)) => {
                    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
                    (network, (first.parse().ok()?, last.parse().ok()?))
                }
            };
            let network = match network.parse::<Ipv4Addr>() {
                Ok(address) => Ipv4Net::from(address),
                Err(_) => network.parse().ok()?,
            };
            (ports.0 <= ports.1).then_some(Self {
                network: network.trunc(),
                protocol,
                ports,
            })
        };
        parse().ok_or_else(|| EgressError::Rule(text.to_owned()))
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = self.ports;
        let protocol = self.protocol.name();
        write!(f, "{}:{first}-{last}/{protocol}", self.network)
    }
}

impl TryFrom<String> for Rule {
    type Error = EgressError;

    fn try_from(text: String) -> Result<Self, EgressError> {
        text.parse()
    }
}

impl From<Rule> for String {
    fn from(rule: Rule) -> Self {
        rule.to_string()
    }
}

impl FromStr for Domain {
    type Err = EgressError;

    fn from_str(text: &str) -> Result<Self, EgressError> {
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let is_label = |label: &str| (1..=63).contains(&label.len()) && label.chars().all(is_plain);
        if name.len() > 253 || !name.split('.').all(is_label) {
            return Err(EgressError::Domain(text.to_owned()));
        }
        Ok(Self(name))
    }
}

impl TryFrom<String> for Domain {
    type Error = EgressError;

    fn try_from(text: String) -> Result<Self, EgressError> {
        text.parse()
    }
}

impl From<Domain> for String {
    fn from(domain: Domain) -> Self {
        domain.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_as_they_are_written() {
        for (text, meaning) in [
            ("10.1.2.3", "10.1.2.3/32:0-65535/tcp"),
            ("10.1.2.3/16:443", "10.1.0.0/16:443-443/tcp"),
            ("10.0.0.0/8:1-2/udp", "10.0.0.0/8:1-2/udp"),
            ("0.0.0.0/0:53/tcp", "0.0.0.0/0:53-53/tcp"),
        ] {
            assert_eq!(text.parse::<Rule>().unwrap().to_string(), meaning, "{text}");
        }
        for bad in [
            "",
            "x",
            "1.2.3.4:",
            "1.2.3.4:9-8",
            "1.2.3.4/33",
            "::/0",
            "1.2.3.4:80/icmp",
        ] {
            assert!(bad.parse::<Rule>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_domain_contains_itself_and_what_is_below_it() {
        let names = Names::Listed(vec!["PyPI.org.".parse().unwrap()]);
        let name = |text: &str| DnsName::of_labels(text.split('.').map(str::as_bytes));
        for below in ["pypi.org", "files.pypi.org", "PYPI.ORG"] {
            assert!(names.allow(&name(below)), "{below}");
        }
        for other in ["notpypi.org", "pypi.org.evil.com", "org", "xpypi.org"] {
            assert!(!names.allow(&name(other)), "{other}");
        }
        assert!(!names.allow(&DnsName::of_labels([])), "the root");
        let anything = name("anything");
        assert!(Names::All.allow(&anything) && !Names::None.allow(&anything));
        for bad in [
            "",
            "*.pypi.org",
            "a..b",
            "http://x",
            "x:1",
            "a b",
            &"x".repeat(64),
        ] {
            assert!(bad.parse::<Domain>().is_err(), "{bad}");
        }
    }

    /// Finding M14: the bytes of a label may be anything, also dots.
    #[test]
    fn a_dot_inside_a_label_separates_nothing() {
        let names = Names::Listed(vec!["pypi.org".parse().unwrap()]);
        for labels in [
            &[&b"pypi.org"[..]][..],
            &[b"x.pypi.org"],
            &[b"x.pypi", b"org"],
            &[b"pypi.org", b"evil"],
        ] {
            let name = DnsName::of_labels(labels.iter().copied());
            assert!(!names.allow(&name), "{name:?}");
        }
        let below = DnsName::of_labels([&b"a.b"[..], b"pypi", b"org"]);
        assert!(names.allow(&below));
    }

    #[test]
    fn what_is_open_for_a_guest_is_open_for_what_connects_for_it() {
        let opens = |egress: &Egress, name: Option<&str>, address: &str| {
            egress.opens(name, address.parse().unwrap())
        };
        let internet = Egress::internet();
        assert!(opens(&internet, None, "203.0.113.1:443"));
        assert!(!opens(&internet, Some("x"), "10.0.0.1:443"));
        assert!(!opens(&internet, None, "127.0.0.1:443"));
        let ruled = Egress {
            rules: vec!["10.0.0.0/8:5000-5001".parse().unwrap()],
            names: Names::All,
            ..Egress::closed()
        };
        assert!(opens(&ruled, None, "10.0.0.1:5001"));
        assert!(!opens(&ruled, None, "10.0.0.1:5002"));
        assert!(!opens(&ruled, Some("x"), "203.0.113.1:5000"));
        let named = Egress {
            names: Names::Listed(vec!["example.org".parse().unwrap()]),
            ..Egress::closed()
        };
        assert!(opens(
            &named,
            Some("registry.example.org"),
            "203.0.113.1:443"
        ));
        assert!(!opens(&named, Some("example.com"), "203.0.113.1:443"));
        assert!(!opens(&named, Some("example.org"), "192.168.0.1:443"));
        assert!(!opens(&named, None, "203.0.113.1:443"));
        let datagrams = Egress {
            rules: vec!["203.0.113.1:443/udp".parse().unwrap()],
            ..Egress::closed()
        };
        assert!(!opens(&datagrams, None, "203.0.113.1:443"));
    }

    #[test]
    fn what_is_written_down_is_read_back() {
        let egress = Egress {
            internet: false,
            rules: vec!["10.0.0.0/8:5432".parse().unwrap()],
            names: Names::Listed(vec!["example.org".parse().unwrap()]),
        };
        let text = serde_json::to_string(&egress).unwrap();
        assert_eq!(serde_json::from_str::<Egress>(&text).unwrap(), egress);
        assert!(serde_json::from_str::<Egress>(&text.replace("example.org", "*")).is_err());
    }
}
