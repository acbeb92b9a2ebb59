//! `[s3]`: another S3 with the artifacts of builds, instead of this service's own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};
use hearth_client::Settings;
use hearth_control::id::AccountId;
use hearth_service::ExternalS3;
use serde::{Deserialize, Serialize};

use super::registries::certificates;

/// The table `[s3]`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct S3 {
    /// URL of the other S3: `https://host` or `http://host:port`. `None` means this service's own S3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) endpoint: Option<String>,
    /// Region for which requests are signed; `None` means that of this service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) region: Option<String>,
    /// Id of the access key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) access_key_id: Option<String>,
    /// File with the key's secret, so that the configuration may be read and printed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) secret_access_key_file: Option<PathBuf>,
    /// File with the certificates to trust; `None` means those of this host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ca_bundle: Option<PathBuf>,
    /// The buckets that builds of each account may read.
    pub(crate) accounts: BTreeMap<String, Vec<String>>,
}

impl S3 {
    /// The first invalid value of the table, as a sentence; `None` if all are valid.
    pub(crate) fn problem(&self) -> Option<String> {
        let Some(endpoint) = &self.endpoint else {
            let elsewhere = Self {
                endpoint: None,
                ..self.clone()
            };
            return (elsewhere != Self::default()).then(|| {
                "table s3 names no endpoint; without one this service is the S3".to_owned()
            });
        };
        if host_of(endpoint).is_none() {
            return Some(format!(
                "s3.endpoint = \"{endpoint}\" is not an address; one looks like https://s3.example.org, without a path"
            ));
        }
        if self.access_key_id.is_none() || self.secret_access_key_file.is_none() {
            return Some(
                "s3.endpoint needs s3.access_key_id and s3.secret_access_key_file".to_owned(),
            );
        }
        if self.accounts.is_empty() {
            return Some(
                "s3.endpoint needs s3.accounts: nobody could read anything there".to_owned(),
            );
        }
        let unknown = |name: &&String| name.parse::<AccountId>().is_err();
        let unknown = self.accounts.keys().find(unknown)?;
        Some(format!(
            "s3.accounts has \"{unknown}\", which is not an account's number of twelve digits"
        ))
    }

    /// Why the emulated host, which has a loopback of its own, cannot reach the other S3; `None` if it can.
    pub(crate) fn problem_in_emulated_host(&self) -> Option<String> {
        let endpoint = self.endpoint.as_ref()?;
        let host = host_of(endpoint)?;
        let is_loopback = host == "localhost"
            || host
                .trim_matches(['[', ']'])
                .parse()
                .is_ok_and(|address: IpAddr| address.is_loopback());
        is_loopback.then(|| {
            format!(
                "s3.endpoint = \"{endpoint}\" is on the loopback, which is another one in the emulated host that this \
                 machine needs; name an address that this machine has on a network"
            )
        })
    }

    /// Converts the table for the service, and reads the files that it names.
    pub(crate) fn to_service(&self, region: &str) -> Result<Option<ExternalS3>> {
        let (Some(endpoint), Some(key), Some(_)) = (
            &self.endpoint,
            &self.access_key_id,
            &self.secret_access_key_file,
        ) else {
            return Ok(None);
        };
        let settings = Settings {
            endpoint_url: endpoint.clone(),
            region: self.region.clone().unwrap_or_else(|| region.to_owned()),
            access_key_id: key.clone(),
            secret_access_key: self.secret()?,
            ca_bundle_pem: self.certificates()?,
        };
        let mut accounts = BTreeMap::new();
        for (account, buckets) in &self.accounts {
            let account: AccountId = account
                .parse()
                .map_err(|_| anyhow!("{account} is not an account"))?;
            accounts.insert(account, buckets.iter().cloned().collect::<BTreeSet<_>>());
        }
        ExternalS3::new(settings, accounts)
            .map(Some)
            .context("table s3 of the configuration")
    }

    /// Reads the secret, without the trailing line break that editors add; empty if there is none.
    pub(crate) fn secret(&self) -> Result<String> {
        let Some(path) = &self.secret_access_key_file else {
            return Ok(String::new());
        };
        let text = fs::read_to_string(path)
            .with_context(|| format!("cannot read the secret {}", path.display()))?;
        Ok(text.trim_end_matches(['\r', '\n']).to_owned())
    }

    /// The certificates to trust for the other S3; empty without TLS.
    pub(crate) fn certificates(&self) -> Result<String> {
        let is_tls = |endpoint: &String| endpoint.starts_with("https:");
        if !self.endpoint.as_ref().is_some_and(is_tls) {
            return Ok(String::new());
        }
        let bytes = certificates(self.ca_bundle.as_deref())?.unwrap_or_default();
        String::from_utf8(bytes).context("certificates are text")
    }
}

/// The host in `http://host:port` or `https://host`.
fn host_of(url: &str) -> Option<&str> {
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"))?;
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains(['/', '?', '#', '@']) {
        return None;
    }
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => {
            port.parse::<u16>().ok()?;
            host
        }
        _ => authority,
    };
    (!host.is_empty()).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete() -> S3 {
        S3 {
            endpoint: Some("https://s3.example.org".to_owned()),
            access_key_id: Some("AKIA".to_owned()),
            secret_access_key_file: Some("/etc/hearth/s3-secret".into()),
            accounts: BTreeMap::from([("000000000000".to_owned(), vec!["code".to_owned()])]),
            ..S3::default()
        }
    }

    #[test]
    fn half_a_table_is_none() {
        assert_eq!(S3::default().problem(), None);
        assert_eq!(complete().problem(), None);
        let without = |change: fn(&mut S3)| {
            let mut table = complete();
            change(&mut table);
            table.problem()
        };
        assert!(without(|table| table.endpoint = None).is_some());
        assert!(without(|table| table.access_key_id = None).is_some());
        assert!(without(|table| table.secret_access_key_file = None).is_some());
        assert!(without(|table| table.accounts.clear()).is_some());
        let wrong = without(|table| {
            table.accounts.insert("me".to_owned(), Vec::new());
        });
        assert!(wrong.unwrap().contains("\"me\""));
        for endpoint in [
            "s3.example.org",
            "ftp://x",
            "https://x/path",
            "https://",
            "http://x:y",
        ] {
            let table = S3 {
                endpoint: Some(endpoint.to_owned()),
                ..complete()
            };
            assert!(table.problem().is_some(), "{endpoint}");
        }
    }

    #[test]
    fn the_emulated_host_has_a_loopback_of_its_own() {
        for (endpoint, is_reached) in [
            ("http://127.0.0.1:9000", false),
            ("http://localhost:9000", false),
            ("http://[::1]:9000", false),
            ("http://192.0.2.1:9000", true),
            ("https://s3.example.org/", true),
        ] {
            let table = S3 {
                endpoint: Some(endpoint.to_owned()),
                ..complete()
            };
            assert_eq!(table.problem(), None);
            let problem = table.problem_in_emulated_host();
            assert_eq!(problem.is_none(), is_reached, "{endpoint}");
        }
    }

    #[test]
    fn the_secret_has_to_be_there() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        let table = S3 {
            endpoint: Some("http://192.0.2.1:9000".to_owned()),
            secret_access_key_file: Some(file.clone()),
            ..complete()
        };
        assert!(table.to_service("us-east-1").is_err());
        fs::write(&file, "secret\n").unwrap();
        assert_eq!(table.secret().unwrap(), "secret");
        assert!(table.to_service("us-east-1").unwrap().is_some());
        assert!(S3::default().to_service("us-east-1").unwrap().is_none());
    }
}
