//! Installs the distribution's packages that the developer commands need.

mod backports;

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

/// Programs that Hearth is built and run with, and their packages (Debian 12 and 13, Ubuntu 22.04 and 24.04).
const NEEDED: &[Needed] = &[
    Needed {
        what: "the emulated host",
        package: "qemu-system-x86",
        is_there: || any_exists(&["/usr/bin/qemu-system-x86_64"]),
    },
    Needed {
        what: "the emulated host's shell",
        package: "busybox-static",
        is_there: || hearth_emulated::find_static_busybox().is_some(),
    },
    Needed {
        what: "formatting data disks",
        package: "e2fsprogs",
        is_there: || any_exists(&["/usr/sbin/mke2fs", "/sbin/mke2fs"]),
    },
    Needed {
        what: "Debian's keys, for its kernel packages",
        package: "debian-archive-keyring",
        is_there: || {
            any_exists(&[
                "/usr/share/keyrings/debian-archive-keyring.gpg",
                "/usr/share/keyrings/debian-archive-keyring.pgp",
            ])
        },
    },
    Needed {
        what: "a C compiler and linker",
        package: "gcc",
        is_there: || any_exists(&["/usr/bin/cc", "/usr/local/bin/cc"]),
    },
    Needed {
        what: "static linking",
        package: "libc6-dev",
        is_there: || any_exists(&["/usr/lib/x86_64-linux-gnu/libc.a"]),
    },
    Needed {
        what: "the rules of guests' networks",
        package: "nftables",
        is_there: || any_exists(&["/usr/sbin/nft"]),
    },
];

/// Further needs of commands that build images.
const OF_BASES: &[Needed] = &[
    Needed {
        what: "the base images",
        package: "mmdebstrap",
        is_there: || any_exists(&["/usr/bin/mmdebstrap"]),
    },
    Needed {
        what: "mounting while base images are made",
        package: "mount",
        is_there: || any_exists(&["/usr/bin/mount", "/bin/mount"]),
    },
];

/// Further needs of clients in Python.
const OF_CLIENTS: &[Needed] = &[Needed {
    what: "the Python clients",
    package: "python3-venv",
    is_there: has_python_venv,
}];

/// Further needs of `lab`, for the emulated host.
const OF_LAB: &[Needed] = &[Needed {
    what: "the tests of networks",
    package: "iproute2",
    is_there: || any_exists(&["/usr/sbin/ip"]),
}];

/// Further needs of the tests.
const OF_TESTS: &[Needed] = &[
    Needed {
        what: "a client of endpoints",
        package: "curl",
        is_there: || any_exists(&["/usr/bin/curl"]),
    },
    Needed {
        what: "a browser as a client of endpoints",
        package: "chromium",
        // Ubuntu has it as a snap alone; there its test is left out.
        is_there: || any_exists(&["/usr/bin/chromium"]) || !is_debian(),
    },
    Needed {
        what: "trust of that browser",
        package: "libnss3-tools",
        is_there: || any_exists(&["/usr/bin/certutil"]),
    },
    Needed {
        what: "listing source files",
        package: "git",
        is_there: || any_exists(&["/usr/bin/git", "/usr/local/bin/git"]),
    },
];

/// Path of nginx in distributions. One benchmark compares the endpoint with it.
pub(crate) const NGINX: &str = "/usr/sbin/nginx";

const OF_BENCHMARKS: Needed = Needed {
    what: "what the endpoint is compared with",
    package: "nginx",
    is_there: || any_exists(&[NGINX]),
};

/// How often an optional step is tried that may fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attempt {
    /// Only if it was not tried before in this target directory.
    Once,
    Again,
}

struct Needed {
    what: &'static str,
    package: &'static str,
    is_there: fn() -> bool,
}

/// Whether `python3 -m venv` works: Debian has a separate package for it.
fn has_python_venv() -> bool {
    Command::new("python3")
        .args(["-c", "import venv, ensurepip"])
        .output()
        .is_ok_and(|output| output.status.success())
}

fn is_debian() -> bool {
    release().lines().any(|line| line == "ID=debian")
}

/// The text of the distribution's release file.
fn release() -> String {
    std::fs::read_to_string("/etc/os-release").unwrap_or_default()
}

fn any_exists(paths: &[&str]) -> bool {
    paths.iter().any(|path| Path::new(path).exists())
}

/// The command `setup`.
pub(crate) fn run() -> Result<ExitCode> {
    install(everything())?;
    backports::ensure_fast_qemu(Attempt::Again)?;
    println!("everything is there");
    Ok(ExitCode::SUCCESS)
}

/// Installs everything that is missing. Nearly free if nothing is.
pub(crate) fn ensure() -> Result<()> {
    install(everything())?;
    backports::ensure_fast_qemu(Attempt::Once)
}

/// Installs what `lab` uses: it makes no base images, and runs no Python.
pub(crate) fn ensure_lab() -> Result<()> {
    install(NEEDED.iter().chain(OF_LAB))?;
    backports::ensure_fast_qemu(Attempt::Once)
}

/// Installs what `lab-test` uses, which needs no browser.
pub(crate) fn ensure_lab_tests() -> Result<()> {
    install(NEEDED.iter().chain(OF_BASES).chain(OF_LAB))?;
    backports::ensure_fast_qemu(Attempt::Once)
}

/// Installs what `demo` uses.
pub(crate) fn ensure_demo() -> Result<()> {
    install(of_demo())?;
    backports::ensure_fast_qemu(Attempt::Once)
}

/// The packages that [`ensure_demo`] has to install.
pub(crate) fn missing_for_demo() -> Vec<&'static str> {
    let missing = of_demo().filter(|needed| !(needed.is_there)());
    missing.map(|needed| needed.package).collect()
}

fn of_demo() -> impl Iterator<Item = &'static Needed> {
    NEEDED.iter().chain(OF_BASES).chain(OF_CLIENTS)
}

fn everything() -> impl Iterator<Item = &'static Needed> {
    of_demo().chain(OF_LAB).chain(OF_TESTS)
}

/// Installs nginx if it is missing.
pub(crate) fn ensure_nginx() -> Result<()> {
    install(&[OF_BENCHMARKS])
}

fn install(all: impl IntoIterator<Item = &'static Needed>) -> Result<()> {
    let all = all.into_iter();
    let missing: Vec<&Needed> = all.filter(|needed| !(needed.is_there)()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = missing.iter().map(|needed| needed.package).collect();
    let line = format!(
        "apt-get update && apt-get install -y --no-install-recommends {}",
        packages.join(" ")
    );
    for needed in &missing {
        eprintln!("missing: {} (package {})", needed.what, needed.package);
    }
    if !is_root()? {
        bail!("please run: sudo sh -c '{line}'");
    }
    if !Path::new("/usr/bin/apt-get").exists() {
        bail!(
            "this is no Debian or Ubuntu; please install: {}",
            packages.join(" ")
        );
    }
    eprintln!("running: {line}");
    let status = Command::new("sh")
        .args(["-c", &line])
        .env("DEBIAN_FRONTEND", "noninteractive")
        // Where no systemd decides, packages start no services then: nobody asked for a web server on port 80.
        .env("RUNLEVEL", "1")
        .status()
        .context("cannot run apt-get")?;
    if !status.success() {
        bail!("installing failed; the line was: {line}");
    }
    let still: Vec<&str> = missing
        .iter()
        .filter(|needed| !(needed.is_there)())
        .map(|needed| needed.package)
        .collect();
    if !still.is_empty() {
        bail!("installed, but still not found: {}", still.join(" "));
    }
    Ok(())
}

fn is_root() -> Result<bool> {
    let status = std::fs::read_to_string("/proc/self/status").context("cannot read own status")?;
    let uids = status
        .lines()
        .find_map(|line| line.strip_prefix("Uid:"))
        .context("no user id in /proc/self/status")?;
    // Real, effective, saved, file system.
    Ok(uids.split_whitespace().nth(1) == Some("0"))
}
