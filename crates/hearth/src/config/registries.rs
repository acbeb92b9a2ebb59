//! `[registries]`: where images come from that are not bases, and how.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use hearth_image::{Credentials, Mirror};
use serde::{Deserialize, Serialize};

/// The host's own certificates, on Debian and its relatives.
const CA_BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Registries {
    /// Certificates that builds believe when they pull images; without one, those of this host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ca_bundle: Option<PathBuf>,
    /// Whom builds are, by registry.
    pub(crate) credentials: BTreeMap<String, Login>,
    /// Where images really are, by the beginning of their names.
    pub(crate) mirrors: BTreeMap<String, MirrorTable>,
}

/// A user of a registry. The password stays in a file of its own, so that this one may be read and printed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Login {
    /// The name.
    pub(crate) user: String,
    /// The file with the password or token.
    pub(crate) password_file: PathBuf,
}

/// Another place for images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MirrorTable {
    /// Registry, and what stands before the name there.
    pub(crate) location: String,
    /// Whether it is asked without TLS, or with a certificate that nobody vouches for.
    #[serde(default)]
    pub(crate) insecure: bool,
}

impl Registries {
    /// As the service is told, with the files that it names.
    pub(crate) fn to_service(&self) -> Result<hearth_image::Registries> {
        let mut credentials = BTreeMap::new();
        for (registry, login) in &self.credentials {
            let known = Credentials {
                user: login.user.clone(),
                password: login.password()?,
            };
            credentials.insert(registry.clone(), known);
        }
        let mirrors = self.mirrors.iter().map(|(name, mirror)| {
            let known = Mirror {
                location: mirror.location.clone(),
                is_insecure: mirror.insecure,
            };
            (name.clone(), known)
        });
        Ok(hearth_image::Registries {
            ca_bundle: self.certificates()?,
            credentials,
            mirrors: mirrors.collect(),
        })
    }

    /// The certificates that builds believe: the chosen ones, or this host's if it has any.
    pub(crate) fn certificates(&self) -> Result<Option<Vec<u8>>> {
        certificates(self.ca_bundle.as_deref())
    }
}

/// The certificates in the file that was named, or this host's if it has any.
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
    /// The password, without the end of line that editors leave.
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

    #[test]
    fn what_is_named_has_to_be_there() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        let registries = Registries {
            credentials: BTreeMap::from([(
                "registry.example.org".to_owned(),
                Login {
                    user: "build".to_owned(),
                    password_file: file.clone(),
                },
            )]),
            ..Registries::default()
        };
        assert!(registries.to_service().is_err());
        fs::write(&file, "secret \n").unwrap();
        let told = registries.to_service().unwrap();
        assert_eq!(told.credentials["registry.example.org"].password, "secret ");
        let named = Registries {
            ca_bundle: Some(folder.path().join("none.pem")),
            ..Registries::default()
        };
        assert!(named.certificates().is_err());
    }
}
