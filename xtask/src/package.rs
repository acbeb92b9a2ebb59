//! `cargo xtask package`: a Debian package of the programs, the configuration and the systemd unit.
//!
//! The files are staged as a tree and packed by `dpkg-deb`, which every Debian has. The programs are linked statically,
//! so that one package fits every release. The package's dependencies are programs that `hearth up` runs.

mod install;
mod trial;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::outcome::Outcome;
use crate::python::checked;
use crate::workspace::{self, PROGRAMS, Profile};

/// Packages with the programs that `hearth up` runs.
const DEPENDS: &str = "busybox-static, e2fsprogs, mmdebstrap, mount, nftables";

/// Packages that are needed if KVM runs no guests, and to verify downloads.
const RECOMMENDS: &str = "debian-archive-keyring, qemu-system-x86";

/// Directory of the programs. Each finds the others in its own directory.
const LIBRARY: &str = "usr/lib/hearth";

const CONFIGURATION: &str = "etc/hearth/hearth.toml";

/// Files of the repository, with their paths and permissions in the package.
const FILES: [(&str, &str, u32); 7] = [
    ("packaging/hearth.toml", CONFIGURATION, 0o644),
    (
        "packaging/hearth.service",
        "usr/lib/systemd/system/hearth.service",
        0o644,
    ),
    ("packaging/debian/postinst", "DEBIAN/postinst", 0o755),
    ("packaging/debian/prerm", "DEBIAN/prerm", 0o755),
    ("packaging/debian/postrm", "DEBIAN/postrm", 0o755),
    ("LICENSE", "usr/share/doc/hearth/copyright", 0o644),
    ("README.md", "usr/share/doc/hearth/README.md", 0o644),
];

/// Paths of the completions of each shell.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "usr/share/bash-completion/completions/hearth"),
    ("fish", "usr/share/fish/vendor_completions.d/hearth.fish"),
    ("zsh", "usr/share/zsh/vendor-completions/_hearth"),
];

/// Arguments of `package`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Pack the programs of the development build, uncompressed: for tests.
    #[arg(long)]
    development: bool,
    /// Try it, too: install, use, upgrade and purge it in a Debian of its own with systemd, on an emulated machine whose KVM runs
    /// guests. Takes some six minutes once there are base images, root, and what `cargo xtask setup` installs.
    #[arg(long = "try")]
    is_tried: bool,
    /// Where the package goes [default: target/package].
    #[arg(long)]
    output: Option<PathBuf>,
}

/// The command `package`.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let profile = match arguments.development {
        true => Profile::Development,
        false => Profile::Distribution,
    };
    let output = arguments.output.clone();
    let output = output.unwrap_or_else(|| workspace::target_dir().join("package"));
    let package = make(profile, &output)?;
    println!("{}", package.display());
    if arguments.is_tried {
        trial::run(&package, &output)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Tests that a package of the development build installs, upgrades and is removed as an administrator expects.
pub(crate) fn test() -> Result<Outcome> {
    let output = workspace::target_dir().join("package-test");
    let package = make(Profile::Development, &output)?;
    println!("{}", package.display());
    install::test(&package)
}

/// Builds, stages and packs. Answers the path of the package.
fn make(profile: Profile, output: &Path) -> Result<PathBuf> {
    let built = workspace::build(profile, &PROGRAMS)?;
    let tree = output.join("tree");
    if tree.exists() {
        fs::remove_dir_all(&tree)?;
    }
    for program in PROGRAMS {
        let place = tree.join(LIBRARY).join(program);
        install(&workspace::named(&built, program)?, &place, 0o755)?;
        if profile == Profile::Distribution {
            checked(Command::new("strip").arg("--strip-debug").arg(&place))?;
        }
    }
    fs::create_dir_all(tree.join("usr/bin"))?;
    symlink("../lib/hearth/hearth", tree.join("usr/bin/hearth"))?;
    for (source, place, mode) in FILES {
        install(&workspace::root().join(source), &tree.join(place), mode)?;
    }
    let documents = tree.join("usr/share/doc/hearth/docs");
    for entry in fs::read_dir(workspace::root().join("docs"))? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            install(&entry.path(), &documents.join(entry.file_name()), 0o644)?;
        }
    }
    for (shell, place) in COMPLETIONS {
        write(&tree.join(place), &completions(&tree, shell)?)?;
    }
    write(
        &tree.join("DEBIAN/conffiles"),
        &format!("/{CONFIGURATION}\n"),
    )?;
    write(&tree.join("DEBIAN/control"), &control(&tree)?)?;
    let package = output.join(format!("hearth_{}_amd64.deb", env!("CARGO_PKG_VERSION")));
    let compression = match profile {
        Profile::Development => "-Znone",
        Profile::Release | Profile::Distribution => "-Zxz",
    };
    checked(
        Command::new("dpkg-deb")
            .args(["--root-owner-group", compression, "--build"])
            .args([&tree, &package]),
    )?;
    Ok(package)
}

/// The text of the control file (deb-control(5)).
fn control(tree: &Path) -> Result<String> {
    let kib = size_of_tree(tree)?.div_ceil(1024);
    let version = env!("CARGO_PKG_VERSION");
    Ok(format!(
        "Package: hearth\n\
         Version: {version}\n\
         Architecture: amd64\n\
         Maintainer: The Hearth authors <hearth@localhost>\n\
         Installed-Size: {kib}\n\
         Depends: {DEPENDS}\n\
         Recommends: {RECOMMENDS}\n\
         Section: admin\n\
         Priority: optional\n\
         Description: AWS Lambda MicroVMs on your own hardware\n \
         Runs code that nobody has reviewed in stateful microVMs that start from a\n \
         snapshot, sleep when idle and wake on traffic. Speaks the AWS API: an\n \
         unmodified boto3 or AWS CLI works against it.\n"
    ))
}

fn size_of_tree(directory: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        bytes += match kind.is_dir() {
            true => size_of_tree(&entry.path())?,
            false => entry.metadata()?.len(),
        };
    }
    Ok(bytes)
}

fn completions(tree: &Path, shell: &str) -> Result<String> {
    let output = Command::new(tree.join(LIBRARY).join("hearth"))
        .args(["completions", shell])
        .output()?;
    if !output.status.success() {
        bail!("hearth completions {shell} failed");
    }
    String::from_utf8(output.stdout).context("completions are no text")
}

fn install(source: &Path, place: &Path, mode: u32) -> Result<()> {
    make_parent(place)?;
    fs::copy(source, place).with_context(|| format!("cannot copy {}", source.display()))?;
    Ok(fs::set_permissions(
        place,
        fs::Permissions::from_mode(mode),
    )?)
}

fn write(place: &Path, text: &str) -> Result<()> {
    make_parent(place)?;
    fs::write(place, text).with_context(|| format!("cannot write {}", place.display()))?;
    Ok(fs::set_permissions(
        place,
        fs::Permissions::from_mode(0o644),
    )?)
}

fn make_parent(place: &Path) -> Result<()> {
    match place.parent() {
        Some(parent) => Ok(fs::create_dir_all(parent)?),
        None => Ok(()),
    }
}
