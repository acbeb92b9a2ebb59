//! Downloads kernel packages through apt, which verifies Debian's signatures.
//!
//! The host's own apt is asked first. If it offers no kernel of the line (Ubuntu, or package lists that were never
//! fetched), a private apt state with Debian's security archives is used. It trusts only Debian's archive keyring, and
//! does not change the host's apt.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Progress;

/// The kernel line that Hearth follows.
const LINE: &str = "6.12";

/// Suites of the private apt state. Both have the kernel line with security fixes, and both are small.
const SUITES: &[&str] = &["bookworm-security", "trixie-security"];

/// Paths of the keys in Debian's package `debian-archive-keyring`.
const KEYRINGS: &[&str] = &[
    "/usr/share/keyrings/debian-archive-keyring.gpg",
    "/usr/share/keyrings/debian-archive-keyring.pgp",
];

/// Why no kernel package could be downloaded.
#[derive(Debug, thiserror::Error)]
pub enum AptError {
    /// apt's programs could not be run.
    #[error("cannot run {program}")]
    Run {
        /// `apt-get` or `apt-cache`.
        program: &'static str,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// An apt command failed.
    #[error("{command} failed: {message}")]
    Failed {
        /// The command.
        command: String,
        /// The last lines of its output.
        message: String,
    },
    /// The keys that Debian signs with are not installed.
    #[error("Debian's archive keys are not installed: apt-get install debian-archive-keyring")]
    NoKeyring,
    /// No archive has a kernel of the line.
    #[error("no reachable Debian archive has a linux-image-{LINE}.*-cloud-amd64 package")]
    NoKernel,
    /// The package or the private state could not be written.
    #[error("cannot write the package cache")]
    Cache(#[from] io::Error),
}

/// Downloads the newest kernel package of the line into `packages` unless the package is there, and returns its path.
pub fn fetch_newest(packages: &Path, progress: Progress<'_>) -> Result<PathBuf, AptError> {
    fs::create_dir_all(packages)?;
    let packages = fs::canonicalize(packages)?;
    let host = Apt::of_host();
    match host.newest_kernel().and_then(|package| {
        let package = package.ok_or(AptError::NoKernel)?;
        host.download(&package, &packages, progress)
    }) {
        Ok(path) => Ok(path),
        Err(error) => {
            progress(&format!(
                "the host's apt has no kernel ({error}); asking Debian's archives"
            ));
            let private = Apt::private(&packages.join("apt"))?;
            // An old keyring may lack the keys of one suite; the other suite must still be found.
            let updated = private.get(&["update"]);
            let package = match (private.newest_kernel()?, updated) {
                (Some(package), _) => package,
                (None, Err(error)) => return Err(error),
                (None, Ok(_)) => return Err(AptError::NoKernel),
            };
            private.download(&package, &packages, progress)
        }
    }
}

/// Sorts versions and package names by their numbers: `6.12.9` before `6.12.117`.
pub fn version_key(text: &str) -> Vec<(u64, String)> {
    let mut key = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let word_end = rest
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(rest.len());
        let (word, after) = rest.split_at(word_end);
        let number_end = after
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(after.len());
        let (number, after) = after.split_at(number_end);
        key.push((0, word.to_owned()));
        key.push((number.parse().unwrap_or(0), String::new()));
        rest = after;
    }
    key
}

/// One apt configuration.
struct Apt {
    options: Vec<String>,
}

impl Apt {
    fn of_host() -> Self {
        Self { options: vec![] }
    }

    fn private(directory: &Path) -> Result<Self, AptError> {
        let keyring = KEYRINGS
            .iter()
            .find(|path| Path::new(path).exists())
            .ok_or(AptError::NoKeyring)?;
        for part in ["state/lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(directory.join(part))?;
        }
        let sources: String = SUITES
            .iter()
            .map(|suite| {
                format!(
                    "deb [arch=amd64 signed-by={keyring}] \
                     http://deb.debian.org/debian-security {suite} main\n"
                )
            })
            .collect();
        fs::write(directory.join("sources.list"), sources)?;
        fs::write(directory.join("status"), "")?;
        let at = |name: &str| directory.join(name).display().to_string();
        Ok(Self {
            options: vec![
                format!("Dir::State={}", at("state")),
                format!("Dir::State::lists={}", at("state/lists")),
                format!("Dir::State::status={}", at("status")),
                format!("Dir::Cache={}", at("cache")),
                format!("Dir::Cache::archives={}", at("cache/archives")),
                format!("Dir::Etc::SourceList={}", at("sources.list")),
                "Dir::Etc::SourceParts=-".into(),
                "APT::Architecture=amd64".into(),
                "APT::Architectures::=amd64".into(),
                "Acquire::Languages=none".into(),
            ],
        })
    }

    /// Name of the newest kernel package of the line.
    fn newest_kernel(&self) -> Result<Option<String>, AptError> {
        let pattern = format!("^linux-image-{}\\.", LINE.replace('.', "\\."));
        let found = self.run(
            "apt-cache",
            Path::new("/"),
            &["search", "--names-only", &pattern],
        )?;
        Ok(newest_of(&found))
    }

    fn download(
        &self,
        package: &str,
        packages: &Path,
        progress: Progress<'_>,
    ) -> Result<PathBuf, AptError> {
        let planned = self.get(&["--print-uris", "download", package])?;
        let file_name = planned_file(&planned).ok_or(AptError::NoKernel)?;
        let target = packages.join(file_name);
        if target.exists() {
            return Ok(target);
        }
        progress(&format!("downloading {package}"));
        let partial = packages.join(format!(".download.{}", std::process::id()));
        fs::create_dir_all(&partial)?;
        let result = self
            .run("apt-get", &partial, &["-q", "download", package])
            .and_then(|_| Ok(fs::rename(partial.join(file_name), &target)?));
        // Best effort: an empty directory does no harm.
        let _ = fs::remove_dir_all(&partial);
        result.map(|()| target)
    }

    fn get(&self, arguments: &[&str]) -> Result<String, AptError> {
        self.run("apt-get", Path::new("/"), arguments)
    }

    fn run(
        &self,
        program: &'static str,
        directory: &Path,
        arguments: &[&str],
    ) -> Result<String, AptError> {
        let output = Command::new(program)
            .args(self.options.iter().flat_map(|option| ["-o", option]))
            .args(arguments)
            .current_dir(directory)
            .env("LC_ALL", "C")
            .output()
            .map_err(|source| AptError::Run { program, source })?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let text = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<&str> = text.lines().collect();
        Err(AptError::Failed {
            command: format!("{program} {}", arguments.join(" ")),
            message: lines[lines.len().saturating_sub(4)..].join("; "),
        })
    }
}

/// The newest of the packages that `apt-cache search` lists as `name - description`.
fn newest_of(search: &str) -> Option<String> {
    search
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| name.ends_with("-cloud-amd64"))
        .max_by_key(|name| version_key(name))
        .map(str::to_owned)
}

/// The file name in a line of `apt-get --print-uris`: `'URI' FILE SIZE HASH`.
fn planned_file(planned: &str) -> Option<&str> {
    planned
        .lines()
        .find(|line| line.starts_with('\''))?
        .split_whitespace()
        .nth(1)
        .filter(|name| !name.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_package_is_chosen_by_number() {
        let search = "linux-image-6.12.9+deb12-cloud-amd64 - Linux\n\
            linux-image-6.12.117+deb12-cloud-amd64 - Linux\n\
            linux-image-6.12.117+deb12-cloud-amd64-dbg - Debug symbols\n\
            linux-image-6.12.118+deb12-cloud-amd64-unsigned - Linux\n\
            linux-image-6.12.101+deb13-cloud-amd64 - Linux\n";
        assert_eq!(
            newest_of(search).as_deref(),
            Some("linux-image-6.12.117+deb12-cloud-amd64")
        );
        assert_eq!(newest_of(""), None);
    }

    #[test]
    fn the_planned_file_is_read() {
        let planned = "'http://x/pool/linux_1_amd64.deb' linux_1_amd64.deb 34307256 SHA256:0\n";
        assert_eq!(planned_file(planned), Some("linux_1_amd64.deb"));
        assert_eq!(planned_file("'http://x' ../evil 1 x"), None);
    }
}
