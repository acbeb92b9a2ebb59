//! The bases of a host: the disks that every build and every root file system use, and the record that names them.
//!
//! ```text
//! <directory>/bases.json            the record, which names the current set; written last, by rename
//!             lock                  held while bases are prepared
//!             <id>/builder.erofs    Debian with buildah: root of the builder microVM
//!                  store.erofs      image store with the base images; their layers are lower directories of roots
//!                  scratch.ext4     empty: the writable disk of a microVM is a copy-on-write overlay of it
//!                  work.ext4        empty and larger: the same for the writable disks of builds
//! ```
//!
//! A set is never changed, because roots refer to its disks. A newer set gets a directory of its own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use hearth_node::{BlankDisks, BootRequest, Launched, MachineName, Node, NodeError};
use serde::{Deserialize, Serialize};

use crate::store::Layers;

/// Version of `bases.json`.
const FORMAT: u32 = 3;

pub(crate) const RECORD: &str = "bases.json";
pub(crate) const BUILDER: &str = "builder.erofs";
pub(crate) const STORE: &str = "store.erofs";
pub(crate) const SCRATCH: &str = "scratch.ext4";
pub(crate) const WORK: &str = "work.ext4";

/// The current set of prepared bases of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bases {
    format: u32,
    /// Digest of the recipe (`prepare.sh` and its sizes) that made them.
    pub(crate) recipe: String,
    /// Id of this set, a digest of its content.
    pub id: String,
    /// The images that `FROM` finds without a network.
    pub images: Vec<BaseImage>,
    /// The layers on the store disk.
    pub(crate) layers: Layers,
    #[serde(skip)]
    directory: PathBuf,
}

/// An image on the store disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseImage {
    /// Name in `FROM`, for example `hearth/python:3.11`.
    pub name: String,
    /// Its layers' directories on the store disk, top first.
    pub layers: Vec<String>,
}

/// A set of base images on a host, the current or an older one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseSet {
    /// Its id, a digest of its content.
    pub id: String,
    /// Directory of its disks.
    pub directory: PathBuf,
}

/// Why the record of the bases cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BasesError {
    /// The file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The record cannot be parsed.
    #[error("{path} is no record of bases")]
    Parse {
        /// The file.
        path: PathBuf,
        /// The parser's error.
        #[source]
        source: serde_json::Error,
    },
}

impl BaseImage {
    /// The name without the prefix `hearth/`, and the image that this short name means elsewhere: `FROM python:3.11` is
    /// Docker Hub's.
    pub(crate) fn usual_meaning(&self) -> Option<(&str, String)> {
        let name = self.name.strip_prefix("hearth/")?;
        Some((name, format!("docker.io/library/{name}")))
    }
}

impl Bases {
    /// Boots a guest, or starts it from a template of the booted guest ([`Node::boot_warm`]). The blank disks of such
    /// a template come from these bases and hold nothing of any account.
    ///
    /// # Errors
    ///
    /// As [`Node::boot`].
    pub async fn boot(
        &self,
        node: &Node,
        machine: &MachineName,
        request: BootRequest,
        has_boot_templates: bool,
    ) -> Result<Launched, NodeError> {
        if !has_boot_templates {
            return node.boot(machine, request).await;
        }
        let blank = BlankDisks {
            read_only: self.store(),
            writable: self.scratch(),
        };
        node.boot_warm(machine, request, &blank).await
    }

    pub(crate) fn new(
        directory: PathBuf,
        recipe: String,
        id: String,
        images: Vec<BaseImage>,
        layers: Layers,
    ) -> Self {
        Self {
            format: FORMAT,
            recipe,
            id,
            images,
            layers,
            directory,
        }
    }

    /// Opens the bases that [`crate::prepare`] made in `directory`, or that were copied there. Returns the current
    /// set if it is complete and was made by this release.
    pub fn open(directory: &Path) -> Result<Option<Self>, BasesError> {
        let path = directory.join(RECORD);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(BasesError::Read { path, source }),
        };
        let value: serde_json::Value = match serde_json::from_slice(&text) {
            Ok(value) => value,
            Err(source) => return Err(BasesError::Parse { path, source }),
        };
        // Another release made it. That counts as none: making bases again is cheap.
        if value.get("format") != Some(&FORMAT.into()) {
            return Ok(None);
        }
        let mut bases: Self = match serde_json::from_value(value) {
            Ok(bases) => bases,
            Err(source) => return Err(BasesError::Parse { path, source }),
        };
        bases.directory = directory.to_owned();
        let is_complete = [
            bases.builder(),
            bases.store(),
            bases.scratch(),
            bases.work(),
        ]
        .iter()
        .all(|file| file.is_file());
        Ok(is_complete.then_some(bases))
    }

    /// The directory with all sets.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Removes all other sets whose id is not in use. Returns their ids.
    pub fn remove_others(&self, is_in_use: impl Fn(&str) -> bool) -> io::Result<Vec<String>> {
        let mut removed = Vec::new();
        for set in BaseSet::list(&self.directory)? {
            if set.id != self.id && !is_in_use(&set.id) {
                fs::remove_dir_all(&set.directory)?;
                removed.push(set.id);
            }
        }
        Ok(removed)
    }

    /// The root disk of builder microVMs.
    pub fn builder(&self) -> PathBuf {
        self.file(BUILDER)
    }

    /// The disk with the base images.
    pub fn store(&self) -> PathBuf {
        self.file(STORE)
    }

    /// The empty ext4 file system that writable disks of microVMs start from.
    pub fn scratch(&self) -> PathBuf {
        self.file(SCRATCH)
    }

    /// The empty ext4 file system that writable disks of builds start from.
    pub fn work(&self) -> PathBuf {
        self.file(WORK)
    }

    /// The files to copy to another host, the record last. Their paths relative to the directory of the bases must
    /// stay the same. [`crate::data_extents`] tells which ranges of the two empty disks hold data.
    pub fn files(&self) -> [PathBuf; 5] {
        [
            self.builder(),
            self.store(),
            self.scratch(),
            self.work(),
            self.directory.join(RECORD),
        ]
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.join(&self.id).join(name)
    }
}

impl BaseSet {
    /// The sets in a directory of bases.
    pub fn list(directory: &Path) -> io::Result<Vec<Self>> {
        let mut sets = Vec::new();
        for entry in fs::read_dir(directory)? {
            let directory = entry?.path();
            // The directory where new sets are prepared lies beside the sets.
            let id = directory.file_name().and_then(|name| name.to_str());
            if let Some(id) = id
                && directory.join(STORE).is_file()
            {
                sets.push(Self {
                    id: id.to_owned(),
                    directory: directory.clone(),
                });
            }
        }
        sets.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(sets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_counts_when_its_files_are_there() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = scratch.path();
        assert!(Bases::open(directory).unwrap().is_none());
        let image = BaseImage {
            name: "hearth/debian:12".into(),
            layers: vec!["overlay/x/diff".into()],
        };
        let bases = Bases::new(
            directory.to_owned(),
            "recipe".into(),
            "0123".into(),
            vec![image],
            Layers::default(),
        );
        let record = serde_json::to_vec(&bases).unwrap();
        fs::write(directory.join(RECORD), &record).unwrap();
        assert!(Bases::open(directory).unwrap().is_none());
        fs::create_dir(directory.join("0123")).unwrap();
        for file in &bases.files()[..4] {
            fs::write(file, "").unwrap();
        }
        assert_eq!(Bases::open(directory).unwrap(), Some(bases));

        for other in ["4567", "89ab"] {
            fs::create_dir(directory.join(other)).unwrap();
            fs::write(directory.join(other).join(STORE), "").unwrap();
        }
        fs::create_dir(directory.join("work")).unwrap();
        let bases = Bases::open(directory).unwrap().unwrap();
        let removed = bases.remove_others(|set| set == "4567").unwrap();
        assert_eq!(removed, ["89ab"]);
        let left = BaseSet::list(directory).unwrap();
        let ids: Vec<&str> = left.iter().map(|set| set.id.as_str()).collect();
        assert_eq!(ids, ["0123", "4567"]);
        assert!(directory.join("work").exists());

        fs::write(directory.join(RECORD), r#"{"format":1}"#).unwrap();
        assert!(Bases::open(directory).unwrap().is_none());
        fs::write(directory.join(RECORD), "{").unwrap();
        assert!(matches!(
            Bases::open(directory),
            Err(BasesError::Parse { .. })
        ));
    }
}
