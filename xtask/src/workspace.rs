//! Paths of the workspace, and calls of cargo.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// The workspace's root directory.
pub(crate) fn root() -> PathBuf {
    // xtask/ lies directly in it.
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_owned()
}

/// The directory for what the developer commands keep between calls; another one (`HEARTH_LAB_DIR`) is another lab.
pub(crate) fn lab_dir() -> PathBuf {
    if let Some(directory) = std::env::var_os("HEARTH_LAB_DIR") {
        return directory.into();
    }
    target_dir().join("lab")
}

/// Cargo's target directory.
pub(crate) fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), Into::into)
}

/// A cargo command in the workspace's root.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    // Set by the `cargo run` that started us; inherited, they would look like settings.
    for name in ["CARGO_MANIFEST_DIR", "CARGO_PKG_NAME", "CARGO_PKG_VERSION"] {
        command.env_remove(name);
    }
    command
}

/// The binaries that the emulated host needs.
#[derive(Debug)]
pub(crate) struct Binaries {
    pub(crate) hearth: PathBuf,
    pub(crate) agent: PathBuf,
}

/// Names of the binaries; `hearth` finds the others in its own directory.
pub(crate) const PROGRAMS: [&str; 3] = ["hearth", "hearth-vmm", "hearth-agent"];

impl Binaries {
    /// The binaries that an earlier build left beside this program.
    pub(crate) fn existing() -> Result<Self> {
        let own = std::env::current_exe().context("cannot find xtask itself")?;
        let binaries = Self {
            hearth: own.with_file_name("hearth"),
            agent: own.with_file_name("hearth-agent"),
        };
        for path in [&binaries.hearth, &binaries.agent] {
            if !path.exists() {
                bail!("{} was not built yet", path.display());
            }
        }
        Ok(binaries)
    }

    /// Builds the binaries in the development profile.
    pub(crate) fn build() -> Result<Self> {
        Self::among(&build(Profile::Development, &PROGRAMS)?)
    }

    /// Same as [`Self::build`]; `progress` is told which crates were compiled.
    pub(crate) fn build_telling(progress: &dyn Fn(&str)) -> Result<Self> {
        let mut command = build_command(Profile::Development, &PROGRAMS, &[]);
        Self::among(&executables_telling(&mut command, progress)?)
    }

    /// The program that runs one microVM.
    pub(crate) fn vmm(&self) -> PathBuf {
        self.hearth.with_file_name("hearth-vmm")
    }

    /// Finds the binaries among built executables.
    pub(crate) fn among(executables: &[PathBuf]) -> Result<Self> {
        Ok(Self {
            hearth: named(executables, "hearth")?,
            agent: named(executables, "hearth-agent")?,
        })
    }
}

/// How to build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    Development,
    Release,
    /// The profile of the package: optimised across crates, which takes twice as long.
    Distribution,
}

impl Profile {
    /// Name of the profile in Cargo.toml.
    fn name(self) -> &'static str {
        match self {
            Self::Development => "dev",
            Self::Release => "release",
            Self::Distribution => "dist",
        }
    }
}

/// Set where tests of the whole workspace are built anyway. Features of a crate depend on what cargo builds with it: a binary by
/// itself would be built with other ones than for its tests, and all that it stands on twice.
pub(crate) const WITH_TESTS_VARIABLE: &str = "HEARTH_XTASK_WITH_TESTS";

/// Whether [`WITH_TESTS_VARIABLE`] is set.
pub(crate) fn builds_with_tests() -> bool {
    std::env::var_os(WITH_TESTS_VARIABLE).is_some()
}

/// Builds binaries of the workspace and answers where they are.
pub(crate) fn build(profile: Profile, names: &[&str]) -> Result<Vec<PathBuf>> {
    build_targets(profile, names, &[])
}

/// Builds binaries and examples of the workspace and answers where they are.
pub(crate) fn build_targets(
    profile: Profile,
    binaries: &[&str],
    examples: &[&str],
) -> Result<Vec<PathBuf>> {
    executables(&mut build_command(profile, binaries, examples)).with_context(|| {
        format!(
            "building {} failed",
            [binaries, examples].concat().join(" and ")
        )
    })
}

fn build_command(profile: Profile, binaries: &[&str], examples: &[&str]) -> Command {
    let mut command = cargo();
    command.args(["build", "--profile", profile.name()]);
    if profile == Profile::Development && builds_with_tests() {
        command.args(["--workspace", "--all-targets"]);
        return command;
    }
    for name in binaries {
        command.args(["--bin", name]);
    }
    for name in examples {
        command.args(["--example", name]);
    }
    command
}

/// Runs a `cargo build` and answers the executables of it.
pub(crate) fn executables(build: &mut Command) -> Result<Vec<PathBuf>> {
    executables_telling(build, &|_| ())
}

/// Same as [`executables`]; `progress` is told which crates were compiled.
fn executables_telling(build: &mut Command, progress: &dyn Fn(&str)) -> Result<Vec<PathBuf>> {
    let mut cargo = build
        .args(["--quiet", "--message-format=json-render-diagnostics"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run cargo")?;
    let output = cargo.stdout.take().context("its output is piped")?;
    let mut built = Built::default();
    for line in BufReader::new(output).lines() {
        built.add(&line.context("cannot read what cargo says")?);
        if built.compiled > 0 {
            progress(&built.progress());
        }
    }
    let status = cargo.wait().context("cannot wait for cargo")?;
    if !status.success() {
        bail!("cargo ended with {status}");
    }
    progress(&built.result());
    Ok(built.executables)
}

/// The output of a `cargo build` so far.
#[derive(Debug, Default)]
struct Built {
    executables: Vec<PathBuf>,
    /// Libraries and programs that were not there before.
    compiled: u32,
    last: String,
}

impl Built {
    fn add(&mut self, line: &str) {
        #[derive(Deserialize)]
        struct Message {
            reason: String,
            executable: Option<PathBuf>,
            target: Option<Target>,
            #[serde(default)]
            fresh: bool,
        }
        #[derive(Deserialize)]
        struct Target {
            name: String,
            kind: Vec<String>,
        }
        let Ok(message) = serde_json::from_str::<Message>(line) else {
            return;
        };
        if message.reason != "compiler-artifact" {
            return;
        }
        self.executables.extend(message.executable);
        // Build scripts belong to the crate that they prepare.
        if let Some(target) = message.target
            && !message.fresh
            && target.kind != ["custom-build"]
        {
            self.compiled += 1;
            self.last = target.name;
        }
    }

    fn progress(&self) -> String {
        format!("{}, the last one {}", self.result(), self.last)
    }

    fn result(&self) -> String {
        match self.compiled {
            0 => "nothing to compile".to_owned(),
            1 => "1 crate compiled".to_owned(),
            compiled => format!("{compiled} crates compiled"),
        }
    }
}

/// The executable of that name.
pub(crate) fn named(executables: &[PathBuf], name: &str) -> Result<PathBuf> {
    executables
        .iter()
        .find(|path| path.file_name().is_some_and(|file| file == name))
        .cloned()
        .with_context(|| format!("cargo built no binary {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cargo_compiled_is_counted() {
        let mut built = Built::default();
        built.add("no message");
        built.add(r#"{"reason":"build-finished","success":true}"#);
        let artifact = |name: &str, kind: &str, fresh: bool, executable: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","target":{{"name":"{name}","kind":["{kind}"]}},"fresh":{fresh},"executable":{executable}}}"#
            )
        };
        built.add(&artifact("serde", "lib", true, "null"));
        assert_eq!(built.result(), "nothing to compile");
        built.add(&artifact("libc", "lib", false, "null"));
        assert_eq!(built.progress(), "1 crate compiled, the last one libc");
        let script = r#""/target/build-script-build""#;
        built.add(&artifact(
            "build-script-build",
            "custom-build",
            false,
            script,
        ));
        built.add(&artifact("hearth", "bin", false, r#""/target/hearth""#));
        assert_eq!(built.progress(), "2 crates compiled, the last one hearth");
        assert!(named(&built.executables, "hearth").is_ok());
        assert!(named(&built.executables, "hearth-vmm").is_err());
    }
}
