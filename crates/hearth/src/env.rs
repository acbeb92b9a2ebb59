//! `hearth env`: what AWS clients have to know, as shell exports.

use std::process::ExitCode;

use anyhow::{Context, Result};
use hearth_service::ClientSettings;

use crate::cli::Shared;
use crate::output;

/// What `hearth up` wrote down for clients.
pub(crate) fn settings(shared: &Shared) -> Result<ClientSettings> {
    ClientSettings::read(&shared.data).context("has `hearth up` been started with this --data?")
}

pub(crate) fn run(shared: &Shared) -> Result<ExitCode> {
    let settings = settings(shared)?;
    if shared.json {
        output::json(&settings)?;
        return Ok(ExitCode::SUCCESS);
    }
    // Whoever uses it may stand in another directory.
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
    Ok(ExitCode::SUCCESS)
}
