//! Builds of image versions: from the zip in S3 to a sealed, validated snapshot.
//!
//! ```text
//! fetch -> root file system (hearth-image, in a builder microVM) -> boot -> /ready -> seal -> /validate on a clone
//! ```
//!
//! `images/<build id>/` holds the disks that a version's snapshot needs. A build that fails leaves nothing. A build
//! whose future is dropped leaves files, which [`hearth_control::host::Host::discard_build`] removes.

mod checks;
mod failure;
mod job;
mod origin;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use hearth_base::BaseVersion;
use hearth_control::host::{BuildEvent, BuildFailure, BuildSpec, Built, HostError, WaitingPlace};
use hearth_control::id::BuildId;
use hearth_image::{ArtifactLimits, Bases, BuildLimits, Builder, LayerCaches, Registries};
use hearth_node::Node;
use tokio::sync::mpsc;

use crate::artifact::Artifacts;
use crate::egress::ConnectorEgress;
use crate::output::OutputStore;
use crate::registry::RegistryLogins;
#[cfg(test)]
pub(crate) use failure::VersionBuildError;
use job::Job;
pub use origin::Origin;

/// Prefix of the service's own lines in the log of a build.
const OWN_LINE: &str = "hearth: ";

/// Builds image versions on this host, and holds everything that builds share.
pub struct VersionBuilder {
    /// Directory with the disks of versions.
    pub directory: PathBuf,
    /// Kernel and agent of guests.
    pub base: BaseVersion,
    /// Base images and the builder's own disks.
    pub bases: Bases,
    /// The initramfs of builders.
    pub builder_initramfs: PathBuf,
    /// Caches with the layers of earlier builds.
    pub caches: Arc<LayerCaches>,
    /// Names that `FROM` may use, and the images that they stand for.
    pub aliases: BTreeMap<String, String>,
    /// Registries of all images that are not base images.
    pub registries: Registries,
    /// The operator's logins at registries.
    pub registry_logins: RegistryLogins,
    /// Egress rules of each connector.
    pub connector_egress: ConnectorEgress,
    /// The S3 that holds code artifacts.
    pub artifacts: Artifacts,
    /// Where build logs go.
    pub logs: OutputStore,
    /// Whether builders and applications begin from templates of the booted guest.
    pub has_boot_templates: bool,
    /// What a zip may be.
    pub artifact_limits: ArtifactLimits,
    /// What a build may take.
    pub build_limits: BuildLimits,
    /// Factor on the time that applications have to answer hooks.
    pub hook_timeout_scale: u32,
}

impl VersionBuilder {
    /// Builds a version. See [`hearth_control::host::Host::build`].
    pub async fn build(
        &self,
        node: &Node,
        spec: BuildSpec,
        progress: mpsc::Sender<BuildEvent>,
    ) -> Result<Built, BuildFailure> {
        let job = Job::new(self, node, &spec, progress);
        job.run().await
    }

    /// Says in the log of a build that it waits.
    pub(crate) async fn log_waiting(&self, spec: &BuildSpec, place: WaitingPlace) {
        if let Some(log) = job::log_of(self, spec) {
            log.say(format!("{OWN_LINE}{}", waiting(place))).await;
        }
    }

    fn builder(&self, node: &Node) -> Builder {
        Builder {
            node: node.clone(),
            bases: self.bases.clone(),
            kernel: self.base.vmlinux(),
            initramfs: self.builder_initramfs.clone(),
            command_line: String::new(),
            has_boot_templates: self.has_boot_templates,
            aliases: self.aliases.clone(),
            registries: self.registries.clone(),
        }
    }

    /// Directory with the disks of one build.
    pub fn place(&self, id: BuildId) -> PathBuf {
        self.directory.join(id.to_string())
    }

    /// The builds that have files on this host.
    pub fn left_behind(&self) -> Vec<BuildId> {
        let Ok(entries) = fs::read_dir(&self.directory) else {
            return Vec::new();
        };
        entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect()
    }

    /// Removes the files of a build, which may be gigabytes. Succeeds if they do not exist.
    pub(crate) async fn forget(&self, id: BuildId) -> Result<(), HostError> {
        let place = self.place(id);
        let removal = tokio::task::spawn_blocking(move || match fs::remove_dir_all(&place) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(HostError(format!(
                "cannot remove {}: {error}",
                place.display()
            ))),
            _ => Ok(()),
        });
        removal
            .await
            .map_err(|error| HostError(error.to_string()))?
    }
}

/// The line of a build that waits.
fn waiting(place: WaitingPlace) -> String {
    let WaitingPlace { place, of } = place;
    match of {
        1 => "waiting until the host has room for this build".to_owned(),
        _ => format!(
            "waiting until the host has room for this build: number {place} of the {of} builds of this account that wait"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_which_place_a_build_has() {
        let line = |place, of| waiting(WaitingPlace { place, of });
        assert!(!line(1, 1).contains("number"));
        assert!(line(2, 3).ends_with("number 2 of the 3 builds of this account that wait"));
    }
}
