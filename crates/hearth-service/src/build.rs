//! Builds of image versions: from the zip in S3 to a sealed, validated snapshot.
//!
//! ```text
//! fetch -> root file system (hearth-image, in a builder microVM) -> boot -> /ready -> seal -> /validate on a clone
//! ```
//!
//! `images/<build id>/` holds what a version's snapshot stands on. A build that fails leaves nothing; one that is
//! dropped leaves what [`hearth_control::node::Node::discard_build`] removes.

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
use hearth_control::id::BuildId;
use hearth_control::node::{BuildEvent, BuildFailure, BuildSpec, Built, NodeError};
use hearth_image::{Bases, Builder, LayerCaches, Registries};
use hearth_logs::LogStore;
use hearth_node::Node;
use tokio::sync::mpsc;

use crate::artifact::Artifacts;
use crate::openings::Openings;
#[cfg(test)]
pub(crate) use failure::Failure;
use job::Job;
pub(crate) use origin::Origin;

/// What every build of this host needs.
pub(crate) struct Workshop {
    /// Where the disks of versions are.
    pub(crate) directory: PathBuf,
    /// Kernel and agent of guests.
    pub(crate) base: BaseVersion,
    /// Base images and the builder's own disks.
    pub(crate) bases: Bases,
    /// The initramfs of builders.
    pub(crate) builder_initramfs: PathBuf,
    /// Layers of earlier builds.
    pub(crate) caches: Arc<LayerCaches>,
    /// Names of images and the images that stand for them.
    pub(crate) aliases: BTreeMap<String, String>,
    /// Where all other images come from.
    pub(crate) registries: Registries,
    /// What connectors open.
    pub(crate) openings: Openings,
    /// Where the zips are.
    pub(crate) artifacts: Artifacts,
    pub(crate) logs: Arc<LogStore>,
    /// Factor on what applications have to answer.
    pub(crate) hook_timeout_scale: u32,
}

impl Workshop {
    pub(crate) async fn build(
        &self,
        node: &Node,
        spec: BuildSpec,
        progress: mpsc::Sender<BuildEvent>,
    ) -> Result<Built, BuildFailure> {
        let job = Job::new(self, node, &spec, progress);
        job.run().await
    }

    fn builder(&self, node: &Node) -> Builder {
        Builder {
            node: node.clone(),
            bases: self.bases.clone(),
            kernel: self.base.vmlinux(),
            initramfs: self.builder_initramfs.clone(),
            command_line: String::new(),
            aliases: self.aliases.clone(),
            registries: self.registries.clone(),
        }
    }

    /// Where the disks of one build are.
    pub(crate) fn place(&self, id: BuildId) -> PathBuf {
        self.directory.join(id.to_string())
    }

    /// The builds that have files here.
    pub(crate) fn left_behind(&self) -> Vec<BuildId> {
        let Ok(entries) = fs::read_dir(&self.directory) else {
            return Vec::new();
        };
        entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect()
    }

    /// Removes the files of a build. Of none, it is a success.
    pub(crate) fn forget(&self, id: BuildId) -> Result<(), NodeError> {
        let place = self.place(id);
        match fs::remove_dir_all(&place) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(NodeError(format!(
                "cannot remove {}: {error}",
                place.display()
            ))),
            _ => Ok(()),
        }
    }
}
