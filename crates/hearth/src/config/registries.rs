//! `[registries]`: registries of images that are not base images.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use hearth_control::id::AccountId;
use hearth_image::Mirror;
use hearth_service::{RegistryLogin, RegistryLogins};
use serde::{Deserialize, Serialize};

/// The host's own certificates, on Debian and its derivatives.
const CA_BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The table `[registries]`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Registries {
    /// File with the certificates that builds trust when they pull images; `None` means those of this host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ca_bundle: Option<PathBuf>,
    /// Logins of builds, by registry.
    pub(crate) credentials: BTreeMap<String, Login>,
    /// Mirrors of images, by the prefix of their names.
    pub(crate) mirrors: BTreeMap<String, MirrorTable>,
}

/// A login at a registry. The password is in a file of its own, so that the configuration may be read and printed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Login {
    /// Name of the user.
    pub(crate) user: String,
    /// File with the password or token.
    pub(crate) password_file: PathBuf,
    /// The registry, if it is not the table's name: several accounts may have logins of their own at one registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) registry: Option<String>,
    /// The accounts whose builds use it; the first account if there are none.
    #[serde(default)]
    pub(crate) accounts: Vec<String>,
    /// The repositories that builds may read with it; empty means all.
    #[serde(default)]
    pub(crate) repositories: Vec<String>,
    /// Whether the registry is used without TLS.
    #[serde(default)]
    pub(crate) insecure: bool,
}

/// A mirror for images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MirrorTable {
    /// Registry of the mirror, and the prefix of names there.
    pub(crate) location: String,
    /// Whether it is used without TLS, or with an untrusted certificate.
    #[serde(default)]
    pub(crate) insecure: bool,
}

impl Registries {
    /// The first invalid value of the table, as a sentence; `None` if all are valid.
    pub(crate) fn problem(&self) -> Option<String> {
        let mut known = BTreeSet::new();
        for (name, login) in &self.credentials {
            let registry = login.registry(name);
            let table = format!("registries.credentials.\"{name}\"");
            if registry.is_empty() || registry.contains(['/', '@', ' ']) {
                return Some(format!(
                    "{table}: \"{registry}\" is no registry; write its host, perhaps with a port, and what the login is \
                     for in repositories"
                ));
            }
            let unusable = |path: &&String| path.starts_with('/') || path.ends_with('/');
            if let Some(path) = login.repositories.iter().find(unusable) {
                return Some(format!(
                    "{table}: repositories has \"{path}\"; write it as in the image's name, for example team/tool"
                ));
            }
            let accounts = match login.account_ids() {
                Ok(accounts) => accounts,
                Err(text) => {
                    return Some(format!(
                        "{table}: accounts has \"{text}\", which is not an account's number of twelve digits"
                    ));
                }
            };
            for account in accounts {
                if !known.insert((registry, account)) {
                    return Some(format!(
                        "{table}: account {account} has another login at {registry}; a build could use only one of them"
                    ));
                }
            }
        }
        None
    }

    /// Converts mirrors and certificates for the service.
    pub(crate) fn to_service(&self) -> Result<hearth_image::Registries> {
        let mirrors = self.mirrors.iter().map(|(name, mirror)| {
            let known = Mirror {
                location: mirror.location.clone(),
                is_insecure: mirror.insecure,
            };
            (name.clone(), known)
        });
        Ok(hearth_image::Registries {
            ca_bundle: self.certificates()?,
            mirrors: mirrors.collect(),
        })
    }

    /// Converts the logins for the service, and reads their passwords.
    pub(crate) fn logins(&self) -> Result<RegistryLogins> {
        let mut logins = Vec::new();
        for (name, login) in &self.credentials {
            logins.push(RegistryLogin {
                registry: login.registry(name).to_owned(),
                user: login.user.clone(),
                password: login.password()?,
                accounts: login
                    .account_ids()
                    .map_err(|text| anyhow!("{text} is not an account"))?,
                repositories: login.repositories.iter().cloned().collect(),
                is_plain: login.insecure,
            });
        }
        let bundle = self.certificates()?.unwrap_or_default();
        let bundle = String::from_utf8(bundle).context("certificates are text")?;
        RegistryLogins::new(logins, &bundle).context("table registries of the configuration")
    }

    /// The certificates that builds trust: the configured ones, or this host's if it has any.
    pub(crate) fn certificates(&self) -> Result<Option<Vec<u8>>> {
        certificates(self.ca_bundle.as_deref())
    }
}

/// The certificates in the named file, or else this host's if it has any.
pub(super) fn certificates(named: Option<&Path>) -> Result<Option<Vec<u8>>> {
    let path = named.unwrap_or(Path::new(CA_BUNDLE));
    match fs::read(path) {
        Err(error) if named.is_none() && error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other
            .map(Some)
            .with_context(|| format!("cannot read {}", path.display())),
    }
}

impl Login {
    /// The registry of the login, in the table `name`.
    fn registry<'a>(&'a self, name: &'a str) -> &'a str {
        self.registry.as_deref().unwrap_or(name)
    }

    /// The accounts whose builds use it, or the first text that is not an account's number.
    fn account_ids(&self) -> Result<BTreeSet<AccountId>, &str> {
        if self.accounts.is_empty() {
            return Ok([AccountId::FIRST].into());
        }
        let mut accounts = BTreeSet::new();
        for text in &self.accounts {
            accounts.insert(text.parse().map_err(|_| text.as_str())?);
        }
        Ok(accounts)
    }

    /// Reads the password, without the trailing line break that editors add.
    pub(crate) fn password(&self) -> Result<String> {
        let text = fs::read_to_string(&self.password_file).with_context(|| {
            format!("cannot read the password {}", self.password_file.display())
        })?;
        Ok(text.trim_end_matches(['\r', '\n']).to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login() -> Login {
        Login {
            user: "build".to_owned(),
            password_file: "/etc/hearth/password".into(),
            ..Login::default()
        }
    }

    fn registries(logins: &[(&str, Login)]) -> Registries {
        let named = |(name, login): &(&str, Login)| ((*name).to_owned(), login.clone());
        Registries {
            credentials: logins.iter().map(named).collect(),
            ..Registries::default()
        }
    }

    #[test]
    fn what_is_named_has_to_be_there() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        let own = Login {
            password_file: file.clone(),
            ..login()
        };
        let registries = registries(&[("registry.example.org", own.clone())]);
        assert!(registries.logins().is_err());
        fs::write(&file, "secret \n").unwrap();
        assert_eq!(own.password().unwrap(), "secret ");
        let named = Registries {
            ca_bundle: Some(folder.path().join("none.pem")),
            ..Registries::default()
        };
        assert!(named.certificates().is_err());
    }

    /// Finding H3: one login was every account's.
    #[test]
    fn a_login_is_the_first_accounts_unless_it_names_others() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        fs::write(&file, "secret").unwrap();
        let ca_bundle = folder.path().join("ca.pem");
        fs::write(&ca_bundle, "").unwrap();
        let own = Login {
            password_file: file,
            ..login()
        };
        let of_two = Login {
            registry: Some("registry.example.org".to_owned()),
            accounts: vec!["000000000001".to_owned(), "000000000002".to_owned()],
            ..own.clone()
        };
        let registries = Registries {
            ca_bundle: Some(ca_bundle),
            ..registries(&[("registry.example.org", own), ("others", of_two)])
        };
        assert_eq!(registries.problem(), None);
        let logins = registries.logins().unwrap();
        let has_login = |account: &str| {
            let egress = hearth_net::Egress::closed();
            let proxy = logins.proxy(account.parse().unwrap(), &egress);
            proxy.is_some_and(|proxy| proxy.registries() == ["registry.example.org"])
        };
        let accounts = [
            "000000000000",
            "000000000001",
            "000000000002",
            "000000000003",
        ];
        assert_eq!(accounts.map(has_login), [true, true, true, false]);
    }

    #[test]
    fn what_makes_no_sense_is_told_with_its_table() {
        let problem = |name: &str, login: Login| {
            let others = [(name, login), ("registry.example.org", self::login())];
            registries(&others).problem().unwrap_or_default()
        };
        assert_eq!(problem("other.example.org:5000", login()), "");
        assert!(problem("registry.example.org/team", login()).contains("repositories"));
        assert!(problem("", login()).contains("no registry"));
        let strange = Login {
            accounts: vec!["me".to_owned()],
            ..login()
        };
        assert!(problem("x", strange).contains("\"me\""));
        let twice = Login {
            registry: Some("registry.example.org".to_owned()),
            ..login()
        };
        assert!(problem("x", twice).contains("another login"));
        let slash = Login {
            repositories: vec!["/team".to_owned()],
            ..login()
        };
        assert!(problem("x", slash).contains("team/tool"));
    }
}
