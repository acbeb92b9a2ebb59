//! The builder's configuration of image registries: their locations, and the certificates that it trusts.
//!
//! It contains no login. Registries for which the account of a build has a login are reached through a proxy of the
//! host, which adds the login where no code of the guest can see it:
//!
//! ```text
//! buildah ── http://169.254.170.9/v2/r0/... ──> agent ── vsock ──> RegistryProxy (host) ── login ──> the registry
//!    └────── https://... ── the build's own network ──> every other registry
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::Arc;

use hearth_node::ServiceListener;
use hearth_wire::service::Service;

/// Default registry of image names without one, as in Docker.
const DOCKER_HUB: &str = "docker.io";

/// The operator's settings of registries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Registries {
    /// Certificates to trust, as PEM; `None` means those of the builder's own Debian.
    pub ca_bundle: Option<Vec<u8>>,
    /// Mirrors of images, by the prefix of their names (`docker.io`, `docker.io/library`).
    pub mirrors: BTreeMap<String, Mirror>,
}

/// A mirror for images. The registry itself is asked if the mirror does not have an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// Registry of the mirror, and the prefix of names there.
    pub location: String,
    /// Whether it is used without TLS, or with an untrusted certificate.
    pub is_insecure: bool,
}

/// A proxy to registries for one build, with the logins of its account.
///
/// Repositories of the registry at index `n` of [`Self::registries`] are called `rN/...` there: a name of a registry
/// with a port cannot be part of a repository's name.
pub trait RegistryProxy: fmt::Debug + Send + Sync {
    /// The registries behind the proxy, as they are written in names of images.
    fn registries(&self) -> &[String];

    /// Serves a builder's streams until it is dropped.
    fn serve(
        self: Arc<Self>,
        listener: ServiceListener,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

impl Registries {
    /// The files of the builder that say so, and the Dockerfile, as a tar archive for its root. The registries of `proxied` are asked
    /// through the build's [`RegistryProxy`], which is where these names come from.
    pub(crate) fn to_tar(&self, proxied: &[String], dockerfile: &str) -> io::Result<Vec<u8>> {
        let mut archive = tar::Builder::new(Vec::new());
        let mut add = |path: &str, content: &[u8]| {
            let mut header = tar::Header::new_ustar();
            header.set_mode(0o600);
            header.set_size(content.len() as u64);
            archive.append_data(&mut header, path, content)
        };
        add(
            "etc/containers/registries.conf",
            self.configuration(proxied).as_bytes(),
        )?;
        add("work/Dockerfile", dockerfile.as_bytes())?;
        if let Some(bundle) = &self.ca_bundle {
            add("etc/ssl/certs/ca-certificates.crt", bundle)?;
        }
        archive.into_inner()
    }

    /// The text of registries.conf(5). JSON strings are used as TOML strings.
    fn configuration(&self, proxied: &[String]) -> String {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let mut text = format!(
            "unqualified-search-registries = [{}]\nshort-name-mode = \"disabled\"\n",
            quoted(DOCKER_HUB)
        );
        let prefixes: BTreeSet<&String> = self.mirrors.keys().chain(proxied).collect();
        for prefix in prefixes {
            let place = Place::of(prefix, proxied);
            text += &format!("[[registry]]\nprefix = {}\n{place}", quoted(prefix));
            if let Some(mirror) = self.mirrors.get(prefix) {
                let mut place = Place::of(&mirror.location, proxied);
                place.is_insecure |= mirror.is_insecure;
                text += &format!("[[registry.mirror]]\n{place}");
            }
        }
        text
    }
}

/// A location that buildah pulls from.
struct Place {
    location: String,
    is_insecure: bool,
}

impl Place {
    /// The location for images whose names begin with `name`: the registry itself, or the proxy in front of it, which
    /// speaks HTTP.
    fn of(name: &str, proxied: &[String]) -> Self {
        let (registry, path) = name.split_once('/').unwrap_or((name, ""));
        match proxied.iter().position(|known| known == registry) {
            None => Self {
                location: name.to_owned(),
                is_insecure: false,
            },
            Some(index) => {
                let proxy = Ipv4Addr::from(Service::Registries.address());
                let slash = if path.is_empty() { "" } else { "/" };
                Self {
                    location: format!("{proxy}/r{index}{slash}{path}"),
                    is_insecure: true,
                }
            }
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let location = serde_json::Value::from(self.location.as_str());
        writeln!(f, "location = {location}\ninsecure = {}", self.is_insecure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mirror(location: &str, is_insecure: bool) -> Mirror {
        Mirror {
            location: location.to_owned(),
            is_insecure,
        }
    }

    fn files(registries: &Registries, proxied: &[String]) -> BTreeMap<String, String> {
        let bytes = registries.to_tar(proxied, "FROM a\n").unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().display().to_string();
            let mut text = String::new();
            io::Read::read_to_string(&mut entry, &mut text).unwrap();
            (path, text)
        });
        entries.collect()
    }

    /// The places in the configuration by prefix: the mirror that is asked first, and the registry itself.
    fn places(registries: &Registries, proxied: &[&str]) -> BTreeMap<String, Vec<(String, bool)>> {
        let proxied: Vec<String> = proxied.iter().map(|&name| name.to_owned()).collect();
        let toml: toml::Table = registries.configuration(&proxied).parse().unwrap();
        let place = |table: &toml::Value| {
            let location = table["location"].as_str().unwrap().to_owned();
            (location, table["insecure"].as_bool().unwrap())
        };
        let entries = toml["registry"].as_array().unwrap().iter().map(|entry| {
            let mirrors = entry.get("mirror").and_then(toml::Value::as_array);
            let mirrors = mirrors.into_iter().flatten().map(place);
            let prefix = entry["prefix"].as_str().unwrap().to_owned();
            (prefix, mirrors.chain([place(entry)]).collect())
        });
        entries.collect()
    }

    #[test]
    fn the_builder_is_told_of_mirrors() {
        let registries = Registries {
            ca_bundle: Some(b"PEM".to_vec()),
            mirrors: [(
                "docker.io".to_owned(),
                mirror("mirror.example/\"hub", false),
            )]
            .into(),
        };
        let files = files(&registries, &[]);
        let toml: toml::Table = files["etc/containers/registries.conf"].parse().unwrap();
        let search = &toml["unqualified-search-registries"];
        assert_eq!(search[0].as_str(), Some("docker.io"));
        assert_eq!(files["etc/ssl/certs/ca-certificates.crt"], "PEM");
        let places = places(&registries, &[]);
        let said = [
            ("mirror.example/\"hub".to_owned(), false),
            ("docker.io".to_owned(), false),
        ];
        assert_eq!(places["docker.io"], said);
    }

    /// Finding H3: the builder had the operator's passwords in `/root/.docker/config.json`.
    #[test]
    fn the_builder_gets_settings_and_no_login() {
        let registries = Registries {
            ca_bundle: Some(b"PEM".to_vec()),
            ..Registries::default()
        };
        let files = files(&registries, &["registry.example:5000".to_owned()]);
        let names: Vec<_> = files.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "etc/containers/registries.conf",
                "etc/ssl/certs/ca-certificates.crt",
                "work/Dockerfile"
            ]
        );
    }

    #[test]
    fn what_has_a_login_is_asked_through_the_proxy() {
        let registries = Registries {
            ca_bundle: None,
            mirrors: [
                (
                    "docker.io/library".to_owned(),
                    mirror("registry.example:5000/team", false),
                ),
                ("quay.io".to_owned(), mirror("plain.example", true)),
                (
                    "registry.example:5000".to_owned(),
                    mirror("near.example", false),
                ),
            ]
            .into(),
        };
        let places = places(&registries, &["docker.io", "registry.example:5000"]);
        let place = |location: &str, is_insecure| (location.to_owned(), is_insecure);
        let expected = BTreeMap::from([
            (
                "docker.io".to_owned(),
                vec![place("169.254.170.9/r0", true)],
            ),
            (
                "docker.io/library".to_owned(),
                vec![
                    place("169.254.170.9/r1/team", true),
                    place("169.254.170.9/r0/library", true),
                ],
            ),
            (
                "quay.io".to_owned(),
                vec![place("plain.example", true), place("quay.io", false)],
            ),
            (
                "registry.example:5000".to_owned(),
                vec![
                    place("near.example", false),
                    place("169.254.170.9/r1", true),
                ],
            ),
        ]);
        assert_eq!(places, expected);
    }
}
