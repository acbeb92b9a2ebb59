//! `cargo xtask tidy`: checks the project's own rules about code, dependencies and documents.
//!
//! Each rule answers a list of complaints, each with its place and what to do.

mod circles;
mod documents;
mod layers;
mod licences;
mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::workspace::{cargo, root};

/// The command `tidy`.
pub(crate) fn run() -> Result<ExitCode> {
    let complaints = complaints()?;
    for complaint in &complaints {
        eprintln!("tidy: {complaint}");
    }
    if complaints.is_empty() {
        println!("tidy");
        Ok(ExitCode::SUCCESS)
    } else {
        eprintln!("tidy: {} complaints", complaints.len());
        Ok(ExitCode::FAILURE)
    }
}

/// All complaints of all rules.
fn complaints() -> Result<Vec<String>> {
    let metadata = Metadata::load()?;
    let deny =
        std::fs::read_to_string(root().join("deny.toml")).context("cannot read deny.toml")?;
    let policy = toml::from_str(&deny).context("cannot parse deny.toml")?;
    let mut complaints = layers::complaints(&metadata);
    complaints.extend(licences::complaints(&metadata, &policy));
    complaints.extend(sources::complaints(&root())?);
    complaints.extend(circles::complaints(&root(), &metadata.crate_roots())?);
    complaints.extend(documents::complaints(&root())?);
    Ok(complaints)
}

/// The packages that are built, as `name vVERSION`. `cargo metadata` also lists those of disabled features.
fn used_packages() -> Result<BTreeSet<String>> {
    let output = cargo()
        .args(["tree", "--locked", "--workspace", "--edges=all"])
        .args(["--target", "x86_64-unknown-linux-gnu"])
        .args(["--prefix=none", "--format={p}"])
        .output()
        .context("cannot run cargo tree")?;
    if !output.status.success() {
        bail!(
            "cargo tree failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" "))
        .collect())
}

/// The parts of `cargo metadata` that are used.
#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    pub(crate) packages: Vec<Package>,
    pub(crate) workspace_members: Vec<String>,
}

/// A package of the dependency graph.
#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) license: Option<String>,
    /// `None` for packages of the workspace.
    pub(crate) source: Option<String>,
    pub(crate) dependencies: Vec<Dependency>,
    targets: Vec<Target>,
}

/// A target that is built from a package.
#[derive(Debug, Deserialize)]
struct Target {
    kind: Vec<String>,
    src_path: PathBuf,
}

/// A declared dependency.
#[derive(Debug, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// `None`, `dev` or `build`.
    pub(crate) kind: Option<String>,
    pub(crate) path: Option<PathBuf>,
}

impl Metadata {
    fn load() -> Result<Self> {
        let output = cargo()
            .args(["metadata", "--format-version=1", "--locked"])
            .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
            .output()
            .context("cannot run cargo metadata")?;
        if !output.status.success() {
            bail!(
                "cargo metadata failed: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        let mut metadata: Self =
            serde_json::from_slice(&output.stdout).context("cannot parse cargo metadata")?;
        let used = used_packages()?;
        metadata
            .packages
            .retain(|package| used.contains(&format!("{} v{}", package.name, package.version)));
        Ok(metadata)
    }

    /// The root files of libraries and programs of the workspace, without tests and examples.
    fn crate_roots(&self) -> Vec<PathBuf> {
        let members = self.members();
        let targets = members.values().flat_map(|package| &package.targets);
        let is_used = |target: &&Target| {
            target
                .kind
                .iter()
                .any(|kind| kind == "lib" || kind == "bin")
        };
        targets
            .filter(is_used)
            .map(|target| target.src_path.clone())
            .collect()
    }

    /// The packages of the workspace, by name.
    fn members(&self) -> BTreeMap<&str, &Package> {
        self.packages
            .iter()
            .filter(|package| self.workspace_members.contains(&package.id))
            .map(|package| (package.name.as_str(), package))
            .collect()
    }
}
