//! The attacks as `attacks.toml` lists them.

use anyhow::{Context, Result};
use serde::Deserialize;

const TABLE: &str = include_str!("attacks.toml");

/// What every attack has.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Attack {
    pub(super) name: String,
    /// What it stands under in the table.
    #[serde(skip)]
    pub(super) group: String,
    /// What the attacker wants.
    pub(super) tries: String,
    /// The layer that must stop it.
    pub(super) stopped_by: String,
    pub(super) from: From,
    /// In a guest: the attempt, as an expression of `attacks.py`.
    attack: Option<String>,
    /// In a guest: the same at something that is open. For what has code: the same in words.
    control: Option<String>,
    /// What code makes it.
    by: Option<By>,
    /// By a client: the request.
    api: Option<Api>,
    /// By a client: whose key may do it; otherwise that of the account that it is about.
    #[serde(default)]
    control_as: Owner,
    /// At an endpoint: the token.
    token: Option<String>,
    /// At an endpoint: the port.
    port: Option<u16>,
}

/// Where an attack comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum From {
    /// A microVM that may go to the internet.
    Open,
    /// A microVM that may go nowhere.
    Closed,
    /// Two microVMs at once, of which one disturbs the other.
    Neighbour,
    /// A client of the API with a key of another account.
    Client,
    /// Somebody who reaches the API, and has a key's id or somebody's URL at most.
    Stranger,
    /// Somebody who reaches an endpoint.
    Endpoint,
    /// What a guest has prepared for whoever copies its files to the host.
    Copy,
    /// What runs in a builder.
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

/// Attacks that are more than one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum By {
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

/// Who may do what a client of another account may not.
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

/// What is done, by where it comes from.
pub(super) enum Kind<'a> {
    Guest { attack: &'a str, control: &'a str },
    Client { api: &'a Api, owner: Owner },
    Endpoint { token: &'a str, port: Option<u16> },
    Code { by: By, control: &'a str },
}

impl Attack {
    /// What is done; `None` when the table says too little.
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
