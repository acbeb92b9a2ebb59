//! Starts guests from a template of a booted guest, so that they need not boot.
//!
//! ```text
//! boot once, with blank disks ──> booted-<base>-<shape>     a snapshot, for as long as the base is in use
//!                                      │ clone, with disks of its own
//!                                      v
//!                                 builder, application of a build
//! ```
//!
//! The boot of a kernel is the same for every guest of one shape: kernel, initial ramdisk, command line, vCPUs, RAM and
//! serials of the disks. Only the disks differ, and the guest has read nothing of them when it is sealed. Each clone
//! gets its own disks instead of the blank ones, and the kernel is told their sizes.
//!
//! Such a template contains no tenant's data: its disks are blank, and only kernel and agent have run. A template of a
//! runtime ([`GuestTemplate`]) has one disk more that all its clones share, and the agent has read that one.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use hearth_net::Egress;
use hearth_snapshot::SnapshotId;
use hearth_wire::agent::ControlRequest;

use crate::error::{NodeError, failed};
use crate::layout::MachineName;
use crate::node::Node;
use crate::node::launch::{BootRequest, CloneRequest, DiskRequest, Launched};
use crate::record::Purpose;

/// Prefix of the names of these templates.
const PREFIX: &str = "booted-";

/// Blank disks for the guest that is sealed as a template.
#[derive(Debug, Clone)]
pub struct BlankDisks {
    /// Image of the read-only disks.
    pub read_only: PathBuf,
    /// Image of the writable disks.
    pub writable: PathBuf,
}

/// How the template of a kind of guests is made.
#[derive(Debug, Clone)]
pub struct GuestTemplate {
    /// The disks of the guest that is sealed: serials and kinds are those of its clones.
    pub disks: Vec<DiskRequest>,
    /// What the agent does before the guest is sealed. It may use only disks that are the same in all clones.
    pub prepare: Option<ControlRequest>,
}

impl Node {
    /// Same as [`Node::boot`], from a template of the booted guest. The first guest of its shape makes the template. If
    /// there is no template, or none that this host can restore, the guest boots.
    pub async fn boot_warm(
        &self,
        name: &MachineName,
        request: BootRequest,
        blank: &BlankDisks,
    ) -> Result<Launched, NodeError> {
        let blank = |disk: &DiskRequest| DiskRequest {
            serial: disk.serial.clone(),
            image: match disk.is_writable {
                true => blank.writable.clone(),
                false => blank.read_only.clone(),
            },
            overlays: Vec::new(),
            is_writable: disk.is_writable,
        };
        let template = GuestTemplate {
            disks: request.disks.iter().map(blank).collect(),
            prepare: None,
        };
        self.boot_from(name, request, &template).await
    }

    /// Starts a guest from a template, which the first guest of its kind makes. If there is no template, or none that
    /// this host can restore, the guest boots, and is not prepared.
    pub async fn boot_from(
        &self,
        name: &MachineName,
        request: BootRequest,
        template: &GuestTemplate,
    ) -> Result<Launched, NodeError> {
        let template = match self.booted(&request, template).await {
            Ok(template) => template,
            Err(error) => {
                tracing::warn!(%error, %name, "cannot make the template of the booted guest; the guest boots");
                return self.boot(name, request).await;
            }
        };
        let clone = CloneRequest {
            egress: Some(request.egress.clone()),
            disks: Some(request.disks.clone()),
            ..CloneRequest::new(template)
        };
        match self.clone_snapshot(name, clone).await {
            Ok(launched) => Ok(launched),
            Err(error @ (NodeError::Exists(_) | NodeError::Removed(_) | NodeError::NoUser)) => {
                Err(error)
            }
            // Made on another processor, or damaged.
            Err(error) => {
                tracing::warn!(%error, %name, "cannot use the template of the booted guest; the guest boots");
                if let Err(error) = self.delete_snapshot(template).await {
                    tracing::warn!(%error, "cannot delete the template; it stays");
                }
                self.boot(name, request).await
            }
        }
    }

    /// The template for this request. It is made if it is missing.
    async fn booted(
        &self,
        request: &BootRequest,
        template: &GuestTemplate,
    ) -> Result<SnapshotId, NodeError> {
        let (kernel, initramfs) = (request.kernel.clone(), request.initramfs.clone());
        let base = self.with_records(move |_| digest_of(&kernel, &initramfs));
        let (base, shape) = (base.await?, shape_of(request, template));
        let name: MachineName = format!("{PREFIX}{base}-{shape}").parse()?;
        if let Some(found) = self.find_booted(&name) {
            return Ok(found);
        }
        let _one_at_a_time = self.booting().lock().await;
        if let Some(found) = self.find_booted(&name) {
            return Ok(found);
        }
        // One that an earlier process was making.
        self.erase(&name).await?;
        let request = BootRequest {
            disks: template.disks.clone(),
            egress: Egress::closed(),
            ..request.clone()
        };
        let machine = self.boot(&name, request).await?.machine;
        let prepared = match &template.prepare {
            Some(request) => machine.agent().perform_slowly(request.clone()).await,
            None => Ok(()),
        };
        let sealed = match prepared {
            Ok(()) => self.seal(&name, Purpose::Booted).await,
            Err(error) => Err(error.into()),
        };
        machine.terminate().await?;
        Ok(sealed?.0)
    }

    fn find_booted(&self, name: &MachineName) -> Option<SnapshotId> {
        let name = name.to_string();
        let snapshots = self.snapshots().into_iter();
        let mut found = snapshots.filter(|snapshot| {
            snapshot.record.purpose == Purpose::Booted && snapshot.record.machine == name
        });
        found.next().map(|snapshot| snapshot.id)
    }

    /// Removes templates of bases other than those with these kernels and initial ramdisks, and leftovers of unfinished
    /// ones. Nothing may be booting.
    pub async fn sweep_booted(&self, used: &[(PathBuf, PathBuf)]) -> Result<(), NodeError> {
        let used = used.to_vec();
        let digests = self.with_records(move |_| {
            let digests = used
                .iter()
                .map(|(kernel, initramfs)| digest_of(kernel, initramfs));
            digests.collect::<Result<Vec<_>, _>>()
        });
        let digests = digests.await?;
        for name in self.names() {
            if name.to_string().starts_with(PREFIX) {
                self.erase(&name).await?;
            }
        }
        for snapshot in self.snapshots() {
            let machine = &snapshot.record.machine;
            let is_used = digests
                .iter()
                .any(|digest| machine.starts_with(&format!("{PREFIX}{digest}-")));
            if snapshot.record.purpose != Purpose::Booted || is_used {
                continue;
            }
            match self.delete_snapshot(snapshot.id).await {
                // A guest that began from it still runs. The next start removes it.
                Err(NodeError::InUse { .. } | NodeError::HasChildren { .. }) => {}
                removed => removed?,
            }
        }
        Ok(())
    }
}

/// A digest of the files that a guest boots from. The files are replaced and never rewritten, so their paths, sizes and
/// times identify them. Blocks.
fn digest_of(kernel: &Path, initramfs: &Path) -> Result<String, NodeError> {
    let mut hasher = blake3::Hasher::new();
    for path in [kernel, initramfs] {
        let found = std::fs::metadata(path).map_err(failed("look at", path))?;
        let text = format!(
            "{} {} {} {}.{}\n",
            path.display(),
            found.ino(),
            found.len(),
            found.mtime(),
            found.mtime_nsec()
        );
        hasher.update(text.as_bytes());
    }
    Ok(short(&hasher))
}

/// A digest of everything else that a booted guest depends on: command line, vCPUs, RAM, disks, and what was prepared.
fn shape_of(request: &BootRequest, template: &GuestTemplate) -> String {
    let mut hasher = blake3::Hasher::new();
    let sizes = format!("{} {}\n", request.vcpus, request.memory_mib);
    hasher.update(request.command_line.as_bytes());
    hasher.update(b"\n");
    hasher.update(sizes.as_bytes());
    for disk in &request.disks {
        let disk = format!("{} {}\n", disk.serial, disk.is_writable);
        hasher.update(disk.as_bytes());
    }
    if let Some(prepare) = &template.prepare {
        // It has read disks: those that it can have read are named, too.
        hasher.update(format!("{prepare:?} {:?}\n", template.disks).as_bytes());
    }
    short(&hasher)
}

/// A prefix of a hash, long enough to be unique on one node.
fn short(hasher: &blake3::Hasher) -> String {
    hasher.finalize().to_hex()[..12].to_owned()
}
