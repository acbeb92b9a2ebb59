//! The attacks in `attacks.toml`.

use anyhow::{Context, Result};
use serde::Deserialize;

const TABLE: &str = include_str!("attacks.toml");

/// An attack of the table.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Attack {
    pub(super) name: String,
    /// Name of its group in the table.
    #[serde(skip)]
    pub(super) group: String,
    /// What the attacker tries to get.
    pub(super) tries: String,
    /// The layer that must stop it.
    pub(super) stopped_by: String,
    pub(super) from: From,
    /// For attacks in a guest: the attempt, as an expression of `attacks.py`.
    attack: Option<String>,
    /// For attacks in a guest: the control, as an expression of `attacks.py`. For attacks with code in `multi_step`: a
    /// description of the control.
    control: Option<String>,
    /// The code in `multi_step` that makes it.
    by: Option<MultiStep>,
    /// For attacks of a client: the request.
    api: Option<Api>,
    /// For attacks of a client: whose key is used for the control.
    #[serde(default)]
    control_as: Owner,
    /// For attacks on an endpoint: the token.
    token: Option<String>,
    /// For attacks on an endpoint: the port.
    port: Option<u16>,
}

/// The origin of an attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum From {
    /// A microVM with internet access.
    Open,
    /// A microVM without network access.
    Closed,
    /// Two microVMs at once, of which one disturbs the other.
    Neighbour,
    /// A client of the API with a key of another account.
    Client,
    /// A client of the API without credentials, which knows at most a key's id or a presigned URL.
    Stranger,
    /// A client of an endpoint.
    Endpoint,
    /// A guest whose files are copied to the host.
    Copy,
    /// A Dockerfile in a builder.
    Dockerfile,
}

impl From {
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Open => "guest",
            Self::Closed => "closed guest",
            Self::Neighbour => "guest beside another one",
            Self::Client => "client",
            Self::Stranger => "stranger",
            Self::Endpoint => "endpoint",
            Self::Copy => "guest's folder",
            Self::Dockerfile => "Dockerfile",
        }
    }
}

/// Attacks that consist of more than one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum MultiStep {
    FormBeforeSignature,
    ChunkWithoutEnd,
    OldSignature,
    MoreHeaders,
    PresignedExec,
    DeletedKey,
    Metrics,
    HeldBodies,
    NeighboursLogs,
    OtherSpelling,
    Smuggling,
    PortTokenAtTheShell,
    CopiedLinks,
    HostileFolder,
    EndlessFolder,
    TokensOfAParent,
    HeldResolver,
    LoginInTheBuilder,
}

/// Whose key is used for the control of an attack by a client.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Owner {
    #[default]
    Tenant,
    Operator,
}

/// A request to the API.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Api {
    pub(super) service: String,
    pub(super) method: String,
    pub(super) path: String,
    /// `X-Amz-Target` of CloudWatch Logs.
    pub(super) target: Option<String>,
    #[serde(default)]
    pub(super) body: String,
}

/// The attempt of an attack, by its origin.
pub(super) enum Kind<'a> {
    Guest { attack: &'a str, control: &'a str },
    Client { api: &'a Api, owner: Owner },
    Endpoint { token: &'a str, port: Option<u16> },
    Code { by: MultiStep, control: &'a str },
}

impl Attack {
    /// The attempt of the attack; `None` if the table's entry is incomplete.
    pub(super) fn kind(&self) -> Option<Kind<'_>> {
        if let Some(by) = self.by {
            let control = self.control.as_deref()?;
            return Some(Kind::Code { by, control });
        }
        Some(match self.from {
            From::Open | From::Closed => Kind::Guest {
                attack: self.attack.as_deref()?,
                control: self.control.as_deref()?,
            },
            From::Client => Kind::Client {
                api: self.api.as_ref()?,
                owner: self.control_as,
            },
            From::Endpoint => Kind::Endpoint {
                token: self.token.as_deref()?,
                port: self.port,
            },
            From::Neighbour | From::Stranger | From::Copy | From::Dockerfile => return None,
        })
    }
}

/// All attacks, in the order in which they are made.
pub(super) fn attacks() -> Result<Vec<Attack>> {
    #[derive(Deserialize)]
    struct Group {
        name: String,
        attack: Vec<Attack>,
    }
    #[derive(Deserialize)]
    struct Table {
        group: Vec<Group>,
    }
    let table: Table = toml::from_str(TABLE).context("the table of attacks cannot be read")?;
    let attacks = table.group.into_iter().flat_map(|Group { name, attack }| {
        attack.into_iter().map(move |attack| Attack {
            group: name.clone(),
            ..attack
        })
    });
    Ok(attacks.collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_attack_is_whole_and_has_its_own_name() {
        let attacks = attacks().unwrap();
        let names: BTreeSet<_> = attacks.iter().map(|attack| &attack.name).collect();
        assert_eq!(names.len(), attacks.len());
        assert!(attacks.len() >= 93, "{}", attacks.len());
        for attack in &attacks {
            assert!(attack.kind().is_some(), "{}", attack.name);
        }
    }
}
