//! `cargo xtask test --changed`: finds the tests that a change can affect, by git and `cargo metadata`.
//!
//! A changed file belongs to a package or to one of the suites in Python, or may affect everything. A changed package
//! affects the packages that depend on it, and those that run its program. This is a shortcut for developers: CI runs
//! everything.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::workspace;

/// Programs that are run by tests of packages which do not depend on them.
const RUN_BY: &[(&str, &[&str])] = &[
    (
        "hearth-agent",
        &[
            "hearth",
            "hearth-emulated",
            "hearth-image",
            "hearth-machine-tests",
            "hearth-vmm",
        ],
    ),
    (
        "hearth-vmm",
        &["hearth", "hearth-image", "hearth-machine-tests"],
    ),
];

/// Steps that test files outside of packages: a changed path with one of these prefixes reaches them.
const SUITES: &[(&str, &[&str])] = &[
    ("tests/contract/", &["contract tests"]),
    ("tests/clients/", &["contract tests"]),
    ("tests/sdk/", &["contract tests"]),
    ("tests/service/", &["service tests"]),
    ("tests/lab/", &["machine tests"]),
    ("tests/bench/", &[]),
    ("tests/durations.csv", &[]),
    ("fuzz/", &[]),
    ("packaging/", &["package"]),
    ("examples/", &["contract tests", "service tests"]),
];

/// Packages whose change reaches a step that belongs to no package.
const STEPS_OF: &[(&str, &[&str])] = &[
    ("hearth", &["contract tests", "package", "service tests"]),
    ("hearth-front", &["contract tests"]),
    ("hearth-endpoint", &["contract tests"]),
];

/// The packages and steps that a change affects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reach {
    Everything,
    Only {
        packages: BTreeSet<String>,
        /// Steps that belong to no package.
        steps: BTreeSet<&'static str>,
    },
}

impl Reach {
    /// Finds the reach of all files that differ from the merge base with `revision`.
    pub(crate) fn since(revision: &str) -> Result<Self> {
        Ok(reach(&changed_files(revision)?, &packages()?))
    }

    /// Whether a step has to run. For steps of packages, [`Self::filter`] selects the tests.
    pub(crate) fn includes(&self, step: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::Only { packages, steps } => match step {
                "unit tests" | "machine tests" => !packages.is_empty() || steps.contains(step),
                "contract tests" | "package" | "service tests" => steps.contains(step),
                _ => true,
            },
        }
    }

    /// A nextest filter for the tests of the reached packages.
    pub(crate) fn filter(&self) -> String {
        match self {
            Self::Everything => "all()".to_owned(),
            Self::Only { packages, .. } if packages.is_empty() => "none()".to_owned(),
            Self::Only { packages, .. } => {
                let packages = packages.iter().map(|name| format!("package(={name})"));
                packages.collect::<Vec<_>>().join(" | ")
            }
        }
    }
}

/// A package of the workspace.
#[derive(Debug)]
struct Package {
    name: String,
    /// Path relative to the workspace's root, with a slash at its end.
    directory: String,
    /// Packages of the workspace that it depends on, in tests too.
    dependencies: Vec<String>,
}

fn reach(files: &[String], packages: &[Package]) -> Reach {
    let mut reached = BTreeSet::new();
    let mut steps = BTreeSet::new();
    for file in files {
        if let Some((_, of_suite)) = SUITES.iter().find(|(start, _)| file.starts_with(start)) {
            steps.extend(*of_suite);
        } else if file.ends_with(".md") {
            // The contract tests look at every block of the documents; that they do what they say is left to CI.
            steps.insert("contract tests");
        }
        let owner = packages
            .iter()
            .find(|package| file.starts_with(&package.directory));
        match owner {
            // The tools decide what is tested and how.
            Some(package) if package.name == "xtask" => return Reach::Everything,
            Some(package) => {
                reached.insert(package.name.clone());
            }
            None if file.ends_with(".md") => {}
            None if SUITES.iter().any(|(start, _)| file.starts_with(start)) => {}
            None => return Reach::Everything,
        }
    }
    extend(&mut reached, packages);
    let of_packages = STEPS_OF.iter().filter(|(name, _)| reached.contains(*name));
    steps.extend(of_packages.flat_map(|(_, steps)| *steps));
    Reach::Only {
        packages: reached,
        steps,
    }
}

/// Adds the packages that depend on a reached package, or run its program.
fn extend(reached: &mut BTreeSet<String>, packages: &[Package]) {
    loop {
        let runs_reached = |name: &str| {
            let runs = RUN_BY
                .iter()
                .filter(|(program, _)| reached.contains(*program));
            runs.flat_map(|(_, by)| *by).any(|by| *by == name)
        };
        let more: Vec<String> = packages
            .iter()
            .filter(|package| !reached.contains(&package.name))
            .filter(|package| {
                let mut dependencies = package.dependencies.iter();
                dependencies.any(|name| reached.contains(name)) || runs_reached(&package.name)
            })
            .map(|package| package.name.clone())
            .collect();
        if more.is_empty() {
            return;
        }
        reached.extend(more);
    }
}

/// Files that differ from where this branch left `revision`, committed or not.
fn changed_files(revision: &str) -> Result<Vec<String>> {
    let base = git(&["merge-base", revision, "HEAD"])?;
    let mut files = git(&["diff", "--name-only", base.trim()])?;
    files += &git(&["ls-files", "--others", "--exclude-standard"])?;
    Ok(files.lines().map(str::to_owned).collect())
}

fn git(arguments: &[&str]) -> Result<String> {
    let output = Command::new("git")
        .args(arguments)
        .current_dir(workspace::root())
        .output()
        .context("cannot run git")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("git {} failed: {}", arguments.join(" "), said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn packages() -> Result<Vec<Package>> {
    #[derive(Deserialize)]
    struct Metadata {
        packages: Vec<Listed>,
    }
    #[derive(Deserialize)]
    struct Listed {
        name: String,
        manifest_path: PathBuf,
        dependencies: Vec<Dependency>,
    }
    #[derive(Deserialize)]
    struct Dependency {
        name: String,
        path: Option<PathBuf>,
    }
    let output = workspace::cargo()
        .args(["metadata", "--no-deps", "--format-version=1", "--locked"])
        .output()
        .context("cannot run cargo metadata")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("cargo metadata failed: {}", said.trim());
    }
    let metadata: Metadata =
        serde_json::from_slice(&output.stdout).context("cannot parse cargo metadata")?;
    let package = |listed: Listed| {
        let directory = listed.manifest_path.parent().unwrap_or(Path::new("/"));
        let directory = directory.strip_prefix(workspace::root())?;
        let own = listed.dependencies.into_iter();
        Ok(Package {
            name: listed.name,
            directory: format!("{}/", directory.display()),
            dependencies: own
                .filter(|dependency| dependency.path.is_some())
                .map(|dependency| dependency.name)
                .collect(),
        })
    };
    metadata.packages.into_iter().map(package).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach_of(files: &[&str]) -> Reach {
        let package = |name: &str, directory: &str, dependencies: &[&str]| Package {
            name: name.into(),
            directory: directory.into(),
            dependencies: dependencies.iter().map(|&name| name.into()).collect(),
        };
        let packages = [
            package("hearth", "crates/hearth/", &["hearth-front"]),
            package("hearth-agent", "crates/hearth-agent/", &["hearth-wire"]),
            package("hearth-front", "crates/hearth-front/", &[]),
            package("hearth-wire", "crates/hearth-wire/", &[]),
            package("xtask", "xtask/", &[]),
        ];
        let files: Vec<String> = files.iter().map(|&file| file.into()).collect();
        reach(&files, &packages)
    }

    fn only(packages: &[&str], steps: &[&'static str]) -> Reach {
        Reach::Only {
            packages: packages.iter().map(|&name| name.into()).collect(),
            steps: steps.iter().copied().collect(),
        }
    }

    #[test]
    fn a_package_reaches_what_depends_on_it() {
        let expected = only(
            &["hearth", "hearth-front"],
            &["contract tests", "package", "service tests"],
        );
        assert_eq!(reach_of(&["crates/hearth-front/src/lib.rs"]), expected);
    }

    #[test]
    fn a_program_reaches_what_runs_it() {
        let expected = only(
            &["hearth", "hearth-agent", "hearth-wire"],
            &["contract tests", "package", "service tests"],
        );
        assert_eq!(reach_of(&["crates/hearth-wire/src/lib.rs"]), expected);
    }

    #[test]
    fn suites_and_documents_reach_no_package() {
        let expected = only(&[], &["service tests"]);
        assert_eq!(reach_of(&["tests/service/test_cli.py"]), expected);
        assert_eq!(reach_of(&["docs/a.md"]), only(&[], &["contract tests"]));
        assert!(!reach_of(&["docs/a.md"]).includes("unit tests"));
        assert!(reach_of(&["docs/a.md"]).includes("lints"));
    }

    #[test]
    fn what_nobody_owns_reaches_everything() {
        for file in ["Cargo.lock", "xtask/src/main.rs", "tests/conftest.py"] {
            assert_eq!(reach_of(&[file]), Reach::Everything, "{file}");
        }
        assert_eq!(reach_of(&[]), only(&[], &[]));
    }
}
