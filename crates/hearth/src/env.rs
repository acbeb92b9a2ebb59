//! `hearth env`: settings for AWS clients, as shell exports.

use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::shared::Shared;
use crate::{client, output};

pub(crate) fn run(shared: &Shared) -> Result<ExitCode> {
    let settings = client::read(&shared.data)?;
    if shared.json {
        output::json(&settings)?;
        return Ok(ExitCode::SUCCESS);
    }
    // The path must be absolute: clients may run in another directory.
    let bundle = std::path::absolute(shared.data.join("ca.pem"))?;
    std::fs::write(&bundle, &settings.ca_bundle_pem)
        .with_context(|| format!("cannot write {}", bundle.display()))?;
    for (name, value) in [
        ("AWS_ENDPOINT_URL", settings.endpoint_url.as_str()),
        ("AWS_REGION", &settings.region),
        ("AWS_DEFAULT_REGION", &settings.region),
        ("AWS_ACCESS_KEY_ID", &settings.access_key_id),
        ("AWS_SECRET_ACCESS_KEY", &settings.secret_access_key),
    ] {
        println!("export {name}={value}");
    }
    println!("export HEARTH_CA_BUNDLE='{}'", bundle.display());
    // Not needed for http, where it would only make other clients in this shell distrust AWS itself.
    if settings.endpoint_url.starts_with("https:") {
        println!("export AWS_CA_BUNDLE='{}'", bundle.display());
    }
    Ok(ExitCode::SUCCESS)
}
