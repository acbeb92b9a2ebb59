//! What a build knows of image registries: where they are, whom it is there, and whose certificates it believes.

use std::collections::BTreeMap;
use std::fmt;
use std::io;

use serde_json::json;

/// Name of the registry that names without one mean, as Docker has it.
const DOCKER_HUB: &str = "docker.io";

/// Registries as the operator sets them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Registries {
    /// Certificates to believe, as PEM; none means those of the builder's own Debian.
    pub ca_bundle: Option<Vec<u8>>,
    /// Whom builds are, by registry.
    pub credentials: BTreeMap<String, Credentials>,
    /// Where images really are, by the beginning of their names (`docker.io`, `docker.io/library`).
    pub mirrors: BTreeMap<String, Mirror>,
}

/// A user of a registry.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The name.
    pub user: String,
    /// The password or token.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({:?}, ...)", self.user)
    }
}

/// Another place for images; the named one is asked when it does not have them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// Registry, and what stands before the name there.
    pub location: String,
    /// Whether it is asked without TLS, or with a certificate that nobody vouches for.
    pub is_insecure: bool,
}

impl Registries {
    /// The files of the builder that say so, as a tar archive for its root.
    pub(crate) fn to_tar(&self) -> io::Result<Vec<u8>> {
        let mut archive = tar::Builder::new(Vec::new());
        let mut add = |path: &str, content: &[u8]| {
            let mut header = tar::Header::new_ustar();
            header.set_mode(0o600);
            header.set_size(content.len() as u64);
            archive.append_data(&mut header, path, content)
        };
        add(
            "etc/containers/registries.conf",
            self.configuration().as_bytes(),
        )?;
        add("root/.docker/config.json", self.authentication().as_bytes())?;
        if let Some(bundle) = &self.ca_bundle {
            add("etc/ssl/certs/ca-certificates.crt", bundle)?;
        }
        archive.into_inner()
    }

    /// registries.conf(5). Strings of JSON are strings of TOML.
    fn configuration(&self) -> String {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let mut text = format!(
            "unqualified-search-registries = [{}]\nshort-name-mode = \"disabled\"\n",
            quoted(DOCKER_HUB)
        );
        for (prefix, mirror) in &self.mirrors {
            let (prefix, location) = (quoted(prefix), quoted(&mirror.location));
            let is_insecure = mirror.is_insecure;
            text += &format!(
                "[[registry]]\nprefix = {prefix}\nlocation = {prefix}\n\
                 [[registry.mirror]]\nlocation = {location}\ninsecure = {is_insecure}\n"
            );
        }
        text
    }

    /// containers-auth.json(5).
    fn authentication(&self) -> String {
        let entry = |(registry, own): (&String, &Credentials)| {
            let pair = format!("{}:{}", own.user, own.password);
            let auth = base64_simd::STANDARD.encode_to_string(pair);
            (registry.clone(), json!({ "auth": auth }))
        };
        let auths: serde_json::Map<_, _> = self.credentials.iter().map(entry).collect();
        json!({ "auths": auths }).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_builder_is_told_of_mirrors_and_credentials() {
        let registries = Registries {
            ca_bundle: Some(b"PEM".to_vec()),
            credentials: [(
                "registry.example:5000".to_owned(),
                Credentials {
                    user: "me".to_owned(),
                    password: "secret".to_owned(),
                },
            )]
            .into(),
            mirrors: [(
                "docker.io".to_owned(),
                Mirror {
                    location: "mirror.example/\"hub".to_owned(),
                    is_insecure: false,
                },
            )]
            .into(),
        };
        let toml: toml::Table = registries.configuration().parse().unwrap();
        assert_eq!(
            toml["unqualified-search-registries"][0].as_str(),
            Some("docker.io")
        );
        let registry = &toml["registry"][0];
        assert_eq!(
            registry["mirror"][0]["location"].as_str(),
            Some("mirror.example/\"hub")
        );
        let auth: serde_json::Value = serde_json::from_str(&registries.authentication()).unwrap();
        assert_eq!(
            auth["auths"]["registry.example:5000"]["auth"],
            "bWU6c2VjcmV0"
        );
        assert!(!format!("{registries:?}").contains("secret"));
        let bytes = registries.to_tar().unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let names: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        assert_eq!(
            names,
            [
                "etc/containers/registries.conf",
                "root/.docker/config.json",
                "etc/ssl/certs/ca-certificates.crt"
            ]
        );
    }
}
