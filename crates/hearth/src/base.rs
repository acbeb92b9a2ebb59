//! `hearth base`: guest kernels and agents, and base images.

mod rebuild;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use hearth_base::{BaseVersion, BuildOptions, KernelSource};
use hearth_image::{Bases, PrepareOptions};
use serde_json::json;

use crate::cli::base::BaseCommand;
use crate::output;
use crate::shared::Shared;

pub(crate) fn run(shared: &Shared, command: BaseCommand) -> Result<ExitCode> {
    match command {
        BaseCommand::Build {
            kernel,
            modules,
            agent,
        } => build(shared, kernel, modules, agent),
        BaseCommand::Ls => ls(shared),
        BaseCommand::Prepare { ca_bundle } => {
            trust(shared, ca_bundle)?;
            let bases = prepare(shared)?;
            println!("{}", bases.id);
            Ok(ExitCode::SUCCESS)
        }
        BaseCommand::Refresh { ca_bundle } => {
            trust(shared, ca_bundle)?;
            refresh(shared)
        }
    }
}

fn build(
    shared: &Shared,
    kernel: Option<PathBuf>,
    modules: Option<PathBuf>,
    agent: Option<PathBuf>,
) -> Result<ExitCode> {
    let version = hearth_base::build(&BuildOptions {
        data_dir: shared.data.clone(),
        agent: agent.map_or_else(agent_beside_us, Ok)?,
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        kernel: kernel.map_or(KernelSource::Newest, |image| KernelSource::Path {
            image,
            modules,
        }),
        progress: &output::announce,
    })?;
    if shared.json {
        output::json(&version)?;
    } else {
        println!("{}", version.id);
    }
    Ok(ExitCode::SUCCESS)
}

/// The base version of the kernel that is cached (or the newest) and this agent.
pub(crate) fn current(shared: &Shared) -> Result<BaseVersion> {
    Ok(hearth_base::build(&BuildOptions {
        data_dir: shared.data.clone(),
        agent: agent_beside_us()?,
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        kernel: KernelSource::Cached,
        progress: &output::announce,
    })?)
}

/// The base images of builds, made if they are absent.
pub(crate) fn prepare(shared: &Shared) -> Result<Bases> {
    Ok(hearth_image::prepare(&prepare_options(shared))?)
}

/// Keeps certificates for this preparation of the base images and for later ones.
fn trust(shared: &Shared, ca_bundle: Option<PathBuf>) -> Result<()> {
    if let Some(file) = ca_bundle {
        hearth_image::trust(&shared.data.join("bases"), &file)?;
    }
    Ok(())
}

fn prepare_options(shared: &Shared) -> PrepareOptions<'static> {
    PrepareOptions {
        directory: shared.data.join("bases"),
        sources: Vec::new(),
        progress: &output::announce,
    }
}

fn refresh(shared: &Shared) -> Result<ExitCode> {
    let version = newest(shared)?;
    let bases = hearth_image::refresh(&prepare_options(shared))?;
    if shared.json {
        output::json(&json!({"guestBase": version.id, "baseImages": bases.id}))?;
    } else {
        output::say(&format!("{}\n{}", version.id, bases.id))?;
    }
    eprintln!(
        "`hearth up` builds on these from its next start on; `hearth base ls` says what a rebuild brings"
    );
    Ok(ExitCode::SUCCESS)
}

/// The base version of the newest kernel and this agent.
fn newest(shared: &Shared) -> Result<BaseVersion> {
    Ok(hearth_base::build(&BuildOptions {
        data_dir: shared.data.clone(),
        agent: agent_beside_us()?,
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        kernel: KernelSource::Newest,
        progress: &output::announce,
    })?)
}

fn ls(shared: &Shared) -> Result<ExitCode> {
    let bases = hearth_base::list(&shared.data)?;
    let images = Bases::open(&shared.data.join("bases"))?;
    let versions = rebuild::versions(shared, &bases, images.as_ref());
    if shared.json {
        output::json(&json!({
            "bases": bases,
            "baseImages": images.map(|images| images.id),
            "versions": versions,
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<_> = bases
        .into_iter()
        .map(|base| {
            let agent = format!(
                "{} ({})",
                base.agent_version,
                output::short(&base.agent_digest)
            );
            [
                base.id,
                base.kernel_package_version,
                base.kernel_release,
                agent,
                base.built_at,
            ]
        })
        .collect();
    output::table(
        ["BASE", "KERNEL PACKAGE", "RELEASE", "AGENT", "BUILT"],
        &rows,
    )?;
    if let Some(versions) = versions {
        rebuild::print(&versions)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The newest base version, or the one with that id.
pub(crate) fn find(shared: &Shared, id: Option<&str>) -> Result<BaseVersion> {
    let versions = hearth_base::list(&shared.data)?;
    match id {
        None => versions
            .into_iter()
            .next_back()
            .context("there is no base version yet; make one with `hearth base build`"),
        Some(id) => versions
            .into_iter()
            .find(|version| version.id == id)
            .with_context(|| format!("there is no base version {id}; `hearth base ls` lists them")),
    }
}

/// The agent's file, which is installed beside this program.
pub(crate) fn agent_beside_us() -> Result<PathBuf> {
    let own = std::env::current_exe().context("cannot find this program's own file")?;
    Ok(own.with_file_name("hearth-agent"))
}
