//! The QEMU of Debian 12's backports, on which the emulated host is faster than on Debian 12's own (docs/emulated-host.md).
//!
//! Debian's backports are built by Debian from the packages of its next release, and apt takes nothing from them by
//! default. They are added as a source of their own, and pinned so that only QEMU and its firmware can come from there,
//! now and in later upgrades. Best effort: if it fails, the distribution's QEMU stays, and a message says so.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result, bail};
use hearth_emulated::QemuVersion;

use super::{Attempt, is_root, release};
use crate::workspace;

/// The release whose own QEMU is slow and whose backports have a fast one.
const RELEASE: &str = "bookworm";
const BACKPORTS: &str = "bookworm-backports";

const SOURCE: &str = "/etc/apt/sources.list.d/hearth-backports.list";
const PREFERENCES: &str = "/etc/apt/preferences.d/hearth-backports";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The record of an attempt, in the target directory.
const ATTEMPTED: &str = "backports-attempted";

/// Installs a fast QEMU if this machine has a slow one and its distribution has a fast one.
pub(super) fn ensure_fast_qemu(attempt: Attempt) -> Result<()> {
    let Some(version) = QemuVersion::installed() else {
        return Ok(());
    };
    let record = workspace::target_dir().join(ATTEMPTED);
    if version >= QemuVersion::FAST || (attempt == Attempt::Once && record.exists()) {
        return Ok(());
    }
    let slow = format!(
        "the emulated host is slower on QEMU {version} than on {}",
        QemuVersion::FAST
    );
    if !is_bookworm(&release()) {
        println!("{slow}, which this distribution is not known to have");
    } else if !is_root()? {
        println!("{slow}; to install that: sudo cargo xtask setup");
    } else {
        println!("{slow}: installing that from {BACKPORTS}");
        match install() {
            Ok(()) => println!("installed; nothing but QEMU comes from there ({PREFERENCES})"),
            Err(error) => println!("QEMU {version} stays: {error:#}"),
        }
    }
    fs::create_dir_all(workspace::target_dir())?;
    fs::write(&record, "").with_context(|| format!("cannot write {}", record.display()))
}

fn is_bookworm(release: &str) -> bool {
    let has = |wanted: &str| release.lines().any(|line| line == wanted);
    has("ID=debian") && has(&format!("VERSION_CODENAME={RELEASE}"))
}

fn install() -> Result<()> {
    // An administrator who has backports already has decided what may come from there.
    let is_ours = !knows_backports()?;
    if is_ours && let Err(error) = add_source() {
        remove_source();
        return Err(error);
    }
    let installed = apt(
        &["install", "--yes", "--no-install-recommends"],
        &["qemu-system-x86/bookworm-backports"],
    );
    if is_ours && installed.is_err() {
        remove_source();
    }
    installed
}

fn knows_backports() -> Result<bool> {
    let targets = index_targets()?;
    Ok(targets
        .lines()
        .any(|line| line.ends_with(&format!(" {BACKPORTS}"))))
}

/// What apt fetches indexes of, one a line: address and release.
fn index_targets() -> Result<String> {
    let output = Command::new("apt-get")
        .args(["indextargets", "--format", "$(REPO_URI) $(RELEASE)"])
        .arg("Created-By: Packages")
        .output()
        .context("cannot run apt-get")?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The mirror that this machine has Debian from.
fn mirror(targets: &str) -> Option<&str> {
    let mut lines = targets.lines();
    lines.find_map(|line| line.strip_suffix(&format!(" {RELEASE}")))
}

/// Adds the backports and fetches their index.
fn add_source() -> Result<()> {
    if !Path::new(KEYRING).exists() {
        bail!("there is no {KEYRING}");
    }
    let targets = index_targets()?;
    let mirror = mirror(&targets).with_context(|| format!("apt names no mirror of {RELEASE}"))?;
    // The pin comes first: without it the source is not to be there.
    fs::write(PREFERENCES, preferences()).with_context(|| format!("cannot write {PREFERENCES}"))?;
    fs::write(SOURCE, source(mirror)).with_context(|| format!("cannot write {SOURCE}"))?;
    // This index alone: other sources may be broken, and are none of our business.
    let only = format!("Dir::Etc::SourceList={SOURCE}");
    let options = ["-o", &only, "-o", "Dir::Etc::SourceParts=-"];
    let options = [&options[..], &["-o", "APT::Get::List-Cleanup=0"]].concat();
    apt(&[&["update", "--error-on=any"], &options[..]].concat(), &[])
}

fn remove_source() {
    for path in [SOURCE, PREFERENCES] {
        // No-op if the file was never written.
        let _ = fs::remove_file(path);
    }
}

fn source(mirror: &str) -> String {
    format!("deb [signed-by={KEYRING}] {mirror} {BACKPORTS} main\n")
}

fn preferences() -> String {
    format!(
        "Explanation: The QEMU of Hearth's emulated host; nothing else comes from backports.\n\
         Package: src:qemu src:seabios\n\
         Pin: release n={BACKPORTS}\n\
         Pin-Priority: 500\n\
         \n\
         Package: *\n\
         Pin: release n={BACKPORTS}\n\
         Pin-Priority: -1\n"
    )
}

/// Runs apt-get. The end of its output is the error.
fn apt(arguments: &[&str], packages: &[&str]) -> Result<()> {
    let Output { status, stderr, .. } = Command::new("apt-get")
        .args(arguments)
        .args(packages)
        .env("DEBIAN_FRONTEND", "noninteractive")
        // Nobody asked for a service.
        .env("RUNLEVEL", "1")
        .output()
        .context("cannot run apt-get")?;
    if !status.success() {
        let said = String::from_utf8_lossy(&stderr);
        let last = said.lines().last().unwrap_or_default();
        bail!("apt-get {} failed: {last}", arguments.join(" "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backports_come_from_the_mirror_of_this_machine() {
        let targets = "http://mirror.example/debian/ bookworm-updates\nhttp://mirror.example/debian/ bookworm\n";
        assert_eq!(mirror(targets), Some("http://mirror.example/debian/"));
        assert_eq!(mirror("http://mirror.example/debian/ trixie"), None);
    }

    #[test]
    fn only_debian_12_needs_them() {
        assert!(is_bookworm("ID=debian\nVERSION_CODENAME=bookworm\n"));
        assert!(!is_bookworm("ID=debian\nVERSION_CODENAME=trixie\n"));
        assert!(!is_bookworm("ID=devuan\nVERSION_CODENAME=bookworm\n"));
    }
}
