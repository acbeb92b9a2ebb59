//! `hearth runtime`: runtimes of Lambda functions.

use std::process::ExitCode;

use anyhow::{Context, Result};
use hearth_image::{RUNTIMES, RuntimeOptions, RuntimeVersion, Runtimes, build_runtime};

use crate::cli::base::RuntimeCommand;
use crate::output;
use crate::shared::Shared;

/// Digits of a version's id that are shown.
const SHORT_DIGITS: usize = 16;

pub(crate) fn run(shared: &Shared, command: RuntimeCommand) -> Result<ExitCode> {
    match command {
        RuntimeCommand::Ls => ls(shared),
        RuntimeCommand::Build { runtimes } => build(shared, &runtimes, false),
        RuntimeCommand::Refresh { runtimes } if runtimes.is_empty() => {
            build(shared, &built(shared)?, true)
        }
        RuntimeCommand::Refresh { runtimes } => build(shared, &runtimes, true),
    }
}

/// The runtimes of this host.
fn runtimes(shared: &Shared) -> Runtimes {
    Runtimes::new(shared.data.join("runtimes"))
}

/// The names of the runtimes that have a version.
fn built(shared: &Shared) -> Result<Vec<String>> {
    let mut names: Vec<_> = list(shared)?
        .into_iter()
        .map(|version| version.runtime)
        .collect();
    names.dedup();
    Ok(names)
}

fn list(shared: &Shared) -> Result<Vec<RuntimeVersion>> {
    let versions = runtimes(shared).list();
    versions.with_context(|| format!("cannot read {}", runtimes(shared).directory().display()))
}

fn build(shared: &Shared, names: &[String], refresh: bool) -> Result<ExitCode> {
    let options = RuntimeOptions {
        runtimes: runtimes(shared),
        sources: Vec::new(),
        progress: &output::announce,
    };
    let mut versions = Vec::new();
    for name in names {
        let version = build_runtime(&options, name, refresh)?;
        if !shared.json {
            output::say(&format!("{name} {}", &version.id[..SHORT_DIGITS]))?;
        }
        versions.push(version);
    }
    if shared.json {
        output::json(&versions)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn ls(shared: &Shared) -> Result<ExitCode> {
    let versions = list(shared)?;
    if shared.json {
        output::json(&versions)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut rows = Vec::new();
    for recipe in RUNTIMES {
        let own = || {
            versions
                .iter()
                .filter(|version| version.runtime == recipe.name)
        };
        if own().next().is_none() {
            let none = || "-".to_owned();
            rows.push([
                recipe.name.to_owned(),
                none(),
                "not built".to_owned(),
                recipe.suite.to_owned(),
                none(),
                none(),
            ]);
        }
        rows.extend(own().map(row));
    }
    output::table(
        ["RUNTIME", "NUMBER", "VERSION", "DEBIAN", "CLIENT", "SIZE"],
        &rows,
    )?;
    Ok(ExitCode::SUCCESS)
}

fn row(version: &RuntimeVersion) -> [String; 6] {
    [
        version.runtime.clone(),
        version.number.to_string(),
        version.id[..SHORT_DIGITS].to_owned(),
        version.suite.clone(),
        version
            .client
            .clone()
            .unwrap_or_else(|| "of the function".to_owned()),
        format!("{} MiB", version.bytes >> 20),
    ]
}
