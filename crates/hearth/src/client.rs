//! Connects the command line to a service: which address, which key.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use hearth_client::{Client, Settings};
use hearth_service::ClientSettings;

use crate::failure::Absent;
use crate::shared::Shared;

/// Runs a command that talks to the service.
pub(crate) fn run<F>(shared: &Shared, command: impl FnOnce(Client) -> F) -> Result<ExitCode>
where
    F: Future<Output = Result<ExitCode>>,
{
    let client = connect(shared)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(command(client));
    // Reading standard input blocks a thread that no command waits for.
    runtime.shutdown_background();
    outcome
}

/// A client of the service that the environment names, or of the one with this data directory.
fn connect(shared: &Shared) -> Result<Client> {
    let environment = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let settings = match environment("AWS_ENDPOINT_URL") {
        None => of_data(&shared.data)?,
        Some(url) => {
            // Settings that `hearth env` has exported need no data directory.
            let known = of_data(&shared.data)
                .ok()
                .filter(|known| known.endpoint_url == url);
            let bundle = environment("HEARTH_CA_BUNDLE");
            let bundle = bundle.as_deref().map(read_bundle).transpose()?;
            overridden(url, known.as_ref(), environment, bundle)?
        }
    };
    Ok(Client::new(settings)?)
}

fn read_bundle(path: &str) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read HEARTH_CA_BUNDLE, {path}"))
}

/// The settings that `hearth up` has written.
fn of_data(data: &Path) -> Result<Settings> {
    let settings = read(data)?;
    Ok(Settings {
        endpoint_url: settings.endpoint_url,
        region: settings.region,
        access_key_id: settings.access_key_id,
        secret_access_key: settings.secret_access_key,
        ca_bundle_pem: settings.ca_bundle_pem,
    })
}

/// What `hearth up` has written for clients into the data directory.
pub(crate) fn read(data: &Path) -> Result<ClientSettings> {
    let path = ClientSettings::path(data);
    let text = match std::fs::read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Absent::NeverStarted(data.to_owned()).into());
        }
        other => other.with_context(|| {
            format!(
                "cannot read {}, which is for the user who runs `hearth up`",
                path.display()
            )
        })?,
    };
    serde_json::from_slice(&text)
        .with_context(|| format!("{} is not what `hearth up` writes", path.display()))
}

/// Settings from the environment: another service than that of the data directory, or another key of the same one. Keys
/// in the environment are used only with an address: without one they are meant for AWS and must not be sent elsewhere.
fn overridden(
    endpoint_url: String,
    known: Option<&Settings>,
    environment: impl Fn(&str) -> Option<String>,
    bundle: Option<String>,
) -> Result<Settings> {
    let value = |names: &[&str], known: Option<String>| {
        let set = names.iter().find_map(|name| environment(name));
        set.or(known)
            .with_context(|| format!("AWS_ENDPOINT_URL is set, but {} is not", names[0]))
    };
    let of_known = |member: fn(&Settings) -> &String| known.map(member).cloned();
    Ok(Settings {
        region: value(
            &["AWS_REGION", "AWS_DEFAULT_REGION"],
            of_known(|known| &known.region),
        )?,
        access_key_id: value(
            &["AWS_ACCESS_KEY_ID"],
            of_known(|known| &known.access_key_id),
        )?,
        secret_access_key: value(
            &["AWS_SECRET_ACCESS_KEY"],
            of_known(|known| &known.secret_access_key),
        )?,
        // Without certificates only requests to endpoints fail.
        ca_bundle_pem: bundle
            .or(of_known(|known| &known.ca_bundle_pem))
            .unwrap_or_default(),
        endpoint_url,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Settings {
        let text = |text: &str| text.to_owned();
        Settings {
            endpoint_url: text("http://127.0.0.1:1"),
            region: text("us-east-1"),
            access_key_id: text("KNOWN"),
            secret_access_key: text("known"),
            ca_bundle_pem: text("pem"),
        }
    }

    #[test]
    fn the_environment_lies_over_the_data_directory() {
        let environment = |name: &str| (name == "AWS_ACCESS_KEY_ID").then(|| "OTHER".to_owned());
        let url = "http://127.0.0.1:1".to_owned();
        let settings = overridden(url, Some(&known()), environment, None).unwrap();
        assert_eq!(settings.access_key_id, "OTHER");
        assert_eq!(settings.secret_access_key, "known");
        assert_eq!(settings.ca_bundle_pem, "pem");
    }

    #[test]
    fn another_service_is_named_whole() {
        let environment = |name: &str| (name != "AWS_SECRET_ACCESS_KEY").then(|| "x".to_owned());
        let error = overridden("http://x".to_owned(), None, environment, None).unwrap_err();
        assert!(
            error.to_string().contains("AWS_SECRET_ACCESS_KEY"),
            "{error}"
        );
    }

    #[test]
    fn a_service_that_was_never_started_is_told() {
        let data = tempfile::tempdir().unwrap();
        let error = read(data.path()).unwrap_err();
        assert!(error.downcast_ref::<Absent>().is_some(), "{error:#}");
    }
}
