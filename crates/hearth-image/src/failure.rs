//! Finds out why a Dockerfile did not build, from the end of buildah's output.

use std::collections::VecDeque;
use std::fmt;

use hearth_wire::agent::ExitStatus;

use crate::bases::BaseImage;
use crate::dockerfile::{Dockerfile, Refusal};

/// Number of lines at the end of the output that are searched for a reason.
const LAST_LINES: usize = 40;

/// Longest reason, in characters; a longer one is cut.
const MAX_REASON: usize = 1000;

/// How a build failed: the kind of failure, and buildah's message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The Dockerfile says something that is wrong or not supported. No builder was started.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The Dockerfile is wrong, or a program that it runs failed.
    #[error("{reason} (exit code {exit_code})")]
    Dockerfile {
        /// Exit code of the program in `RUN`; 125 for failures of buildah itself.
        exit_code: i32,
        /// buildah's message.
        reason: String,
    },
    /// `FROM` or `COPY --from` names an image that is neither a base nor a stage.
    #[error(
        "{reason}; is there such an image, and may this build pull it (egress connector, credentials)?"
    )]
    UnknownImage {
        /// buildah's message.
        reason: String,
    },
    /// Same as [`Self::UnknownImage`], and there is a base image with a similar name.
    #[error(
        "{reason}; without a registry there is {base}: say FROM {base}, or map the name to it in [images.aliases]"
    )]
    ShortName {
        /// buildah's message.
        reason: String,
        /// The base image.
        base: String,
    },
    /// A program needed a network that this build does not have, or a name or address that its connector does not
    /// allow.
    #[error("{reason}; the build's egress connector does not lead there")]
    NoNetwork {
        /// buildah's message.
        reason: String,
    },
    /// A disk of the build is full.
    #[error("{reason}; the disk of the build is full: {usage}")]
    DiskFull {
        /// buildah's message.
        reason: String,
        /// What takes how much of it.
        usage: Usage,
    },
    /// A process was killed. In the builder only the kernel's OOM killer does that, or the Dockerfile's own programs.
    #[error("{reason}; a process was killed, most likely for want of memory")]
    Killed {
        /// buildah's message.
        reason: String,
    },
}

/// Messages of programs without a network, from the C library, curl, Go and Python.
const NO_NETWORK: &[&str] = &[
    "Temporary failure in name resolution",
    "Temporary failure resolving",
    "Could not resolve",
    "Name or service not known",
    "Network is unreachable",
    "network is unreachable",
    "dial tcp",
    // What a proxy of the host says of a registry with a login.
    "egress connector does not lead to",
];

const UNKNOWN_IMAGE: &[&str] = &[
    "image not known",
    "short-name",
    "manifest unknown",
    "name unknown",
    "unauthorized",
    "authentication required",
    "denied: requested access",
];

/// What takes how much of the disks of a build, in MiB. Nothing where it could not be asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage(Vec<(String, u64)>);

impl Usage {
    /// Reads lines of a size in KiB and a name (`guest.sh`, `usage`).
    pub(crate) fn parse(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text);
        let lines = text.lines().filter_map(|line| {
            let (kib, name) = line.split_once(' ')?;
            Some((name.to_owned(), kib.parse::<u64>().ok()? >> 10))
        });
        Self(lines.collect())
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("make what the zip holds or what RUN and COPY write smaller");
        }
        for (index, (name, mib)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{name} {mib} MiB")?;
        }
        Ok(())
    }
}

pub(crate) const DISK_FULL: &[&str] = &["no space left on device", "No space left on device"];

/// Exit code of a shell whose program was killed.
const KILLED_CODE: i32 = 128 + 9;

const KILLED: &[&str] = &["subprocess exited on killed", "signal: killed"];

/// The last lines of a build's output.
#[derive(Debug, Default)]
pub(crate) struct LastLines(VecDeque<String>);

impl LastLines {
    pub(crate) fn push(&mut self, line: &str) {
        if self.0.len() == LAST_LINES {
            self.0.pop_front();
        }
        self.0.push_back(line.chars().take(MAX_REASON).collect());
    }

    /// The failure behind this end, of a build of `dockerfile` that had these bases; `None` when it is a success.
    pub(crate) fn judge(
        &self,
        status: ExitStatus,
        bases: &[BaseImage],
        dockerfile: &Dockerfile,
    ) -> Option<Failure> {
        let exit_code = match status {
            ExitStatus::Code(0) => return None,
            ExitStatus::Code(code) => code,
            ExitStatus::Signal(signal) => 128 + signal,
        };
        let reason = located(&self.reason(), dockerfile);
        let says = |words: &[&str]| {
            let has = |line: &String| words.iter().any(|word| line.contains(word));
            self.0.iter().any(has)
        };
        let is_meant = |base: &&BaseImage| {
            let usual = base.usual_meaning();
            usual.is_some_and(|(name, image)| names_image(&reason, name, &image))
        };
        let is_missing = says(UNKNOWN_IMAGE) || says(NO_NETWORK);
        let near = bases.iter().filter(|_| is_missing).find(is_meant);
        let failure = if let Some(base) = near {
            let base = base.name.clone();
            Failure::ShortName { reason, base }
        } else if says(DISK_FULL) {
            let usage = Usage::default();
            Failure::DiskFull { reason, usage }
        } else if says(UNKNOWN_IMAGE) {
            Failure::UnknownImage { reason }
        } else if says(NO_NETWORK) {
            Failure::NoNetwork { reason }
        } else if says(KILLED) || exit_code == KILLED_CODE {
            Failure::Killed { reason }
        } else {
            Failure::Dockerfile { exit_code, reason }
        };
        Some(failure)
    }

    /// buildah's last error message, or the last line if there is none.
    fn reason(&self) -> String {
        let error = self
            .0
            .iter()
            .rev()
            .find_map(|line| line.strip_prefix("Error: "));
        let last = self.0.back().map(String::as_str);
        error
            .or(last)
            .unwrap_or("buildah ended without a word")
            .to_owned()
    }
}

/// Puts the line in the place of what buildah says around a failed step:
/// `building at STEP "RUN x": while running runtime: exit status 3`.
fn located(reason: &str, dockerfile: &Dockerfile) -> String {
    let find = || {
        let rest = reason.strip_prefix("building at STEP \"")?;
        let (instruction, cause) = rest.split_once("\": ")?;
        let cause = cause
            .strip_prefix("while running runtime: ")
            .unwrap_or(cause);
        let place = match dockerfile.line_of(instruction) {
            Some(line) => format!("Dockerfile:{line}"),
            None => "Dockerfile".to_owned(),
        };
        Some(format!("{place}: {instruction}: {cause}"))
    };
    find().unwrap_or_else(|| reason.to_owned())
}

/// Causes that lie in the files or addresses that a Dockerfile names, and never in layers of an earlier build.
const OWN_CAUSES: &[&str] = &[
    "checking on sources",
    "no items matching glob",
    "unexpected response digest",
    "checksum",
    "in JSON form",
    "invalid duration",
];

impl Failure {
    /// Whether the Dockerfile alone is the cause, whatever was built before.
    pub(crate) fn is_of_dockerfile(&self) -> bool {
        match self {
            Self::Refused(_) => true,
            Self::Dockerfile { reason, .. } => {
                OWN_CAUSES.iter().any(|cause| reason.contains(cause))
            }
            _ => false,
        }
    }
}

/// Whether buildah speaks of an image of Docker Hub: by its whole name, or as `docker://` and the short one.
fn names_image(reason: &str, name: &str, image: &str) -> bool {
    reason.split_whitespace().any(|word| {
        let word = word.trim_end_matches([':', ',']);
        word == image || word.strip_prefix("docker://") == Some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(code: i32, text: &str) -> Option<Failure> {
        let mut lines = LastLines::default();
        text.lines().for_each(|line| lines.push(line));
        let base = BaseImage {
            name: "hearth/python:3.11".to_owned(),
            layers: Vec::new(),
        };
        let dockerfile = Dockerfile::read("FROM a\n\nRUN exit 3\n").unwrap();
        lines.judge(ExitStatus::Code(code), &[base], &dockerfile)
    }

    /// The words are those of Debian 13's buildah 1.39.
    #[test]
    fn buildah_is_understood() {
        assert_eq!(judge(0, "Error: nothing"), None);
        assert_eq!(
            judge(
                3,
                "STEP 2/2: RUN exit 3\nError: building at STEP \"RUN exit 3\": while running runtime: exit status 3"
            ),
            Some(Failure::Dockerfile {
                exit_code: 3,
                reason: "Dockerfile:3: RUN exit 3: exit status 3".into()
            })
        );
        assert!(matches!(
            judge(
                125,
                "Error: creating build container: alpine: image not known"
            ),
            Some(Failure::UnknownImage { .. })
        ));
        let text =
            "Error: creating build container: docker.io/library/python:3.11: image not known";
        let offline = "Error: creating build container: initializing source docker://python:3.11: pinging container \
                       registry registry-1.docker.io: dial tcp: lookup registry-1.docker.io: no such host";
        for text in [text, offline] {
            let judged = judge(125, text);
            assert!(
                matches!(&judged, Some(Failure::ShortName { base, .. }) if base == "hearth/python:3.11"),
                "{judged:?}"
            );
        }
        let other = text.replace("python:3.11:", "python:3.11-slim:");
        assert!(matches!(
            judge(125, &other),
            Some(Failure::UnknownImage { .. })
        ));
        assert!(matches!(
            judge(
                100,
                "E: Temporary failure resolving 'mirror.example'\nError: building at STEP"
            ),
            Some(Failure::NoNetwork { .. })
        ));
        assert!(matches!(
            judge(125, "Error: write /work/x: no space left on device"),
            Some(Failure::DiskFull { .. })
        ));
        assert!(matches!(
            judge(1, "subprocess exited on killed\nError: building at STEP"),
            Some(Failure::Killed { .. })
        ));
        assert!(matches!(
            judge(137, "Killed\nsubprocess exited with status 137"),
            Some(Failure::Killed { .. })
        ));
        let usage = Usage::parse(b"2097152 layers\nx y\n10240 the zip's content\n");
        assert_eq!(
            usage.to_string(),
            "layers 2048 MiB, the zip's content 10 MiB"
        );
        assert!(Usage::default().to_string().contains("smaller"));
        let silent = judge(7, "").unwrap().to_string();
        assert_eq!(silent, "buildah ended without a word (exit code 7)");
    }
}
