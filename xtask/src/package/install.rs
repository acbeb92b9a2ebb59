//! Tests the installation of the package, in a temporary Debian.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::outcome::{Outcome, run_step};
use crate::workspace;

/// The script that runs in that Debian, as root.
const SCRIPT: &str = "xtask/src/package/install.sh";

/// The release that the package is tried on. Its programs are static, and their dependencies are in old releases too.
const SUITE: &str = "bookworm";

/// Installs, upgrades, removes and purges `package` with apt, and checks which files each leaves.
pub(super) fn test(package: &Path) -> Result<Outcome> {
    let script = workspace::root().join(SCRIPT);
    let upload =
        |file: &Path, place: &str| format!("--customize-hook=upload '{}' {place}", file.display());
    let run = format!(
        "--customize-hook=chroot \"$1\" sh /install.sh {}",
        env!("CARGO_PKG_VERSION")
    );
    run_step(
        Command::new("mmdebstrap")
            .args(["--variant=apt", "--include=systemd", "--format=null"])
            .arg("--quiet")
            .args([
                upload(package, "/hearth.deb"),
                upload(&script, "/install.sh"),
            ])
            .args([&run, SUITE, "-"]),
    )
}
