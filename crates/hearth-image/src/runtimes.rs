//! Runtimes of Lambda functions: what is built from Debian's packages and the official interface clients, and kept.
//!
//! ```text
//! <directory>/<runtime>/<id>/root.erofs      the root of an environment, read-only
//!                            tmp.ext4        empty: /tmp of an environment is a copy-on-write overlay of it
//!                            empty.erofs     stands for code and layers in a template
//!                            packages.txt    Debian's packages in the root, with their versions
//!                            runtime.json    the record
//!             work/<runtime>/                where one is built (build.rs)
//! ```
//!
//! The id is a digest of the root. A version is never changed, and appears by rename. New environments get the newest
//! version of their runtime; those that run keep theirs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use hearth_node::DiskRequest;
use serde::{Deserialize, Serialize};

mod build;
mod recipe;

pub use build::{RuntimeBuildError, RuntimeOptions, build_runtime};
pub use recipe::{RUNTIMES, RuntimeKind, RuntimeRecipe, recipe_of};

const RECORD: &str = "runtime.json";
const ROOT: &str = "root.erofs";
const SCRATCH: &str = "tmp.ext4";
const EMPTY: &str = "empty.erofs";
const PACKAGES: &str = "packages.txt";

/// Version of the record and of the layout.
const FORMAT: u32 = 1;

/// Largest record, in bytes.
const MAX_RECORD_BYTES: u64 = 64 << 10;

/// Serials of the disks of an environment.
const RUNTIME_SERIAL: &str = "runtime";
const CODE_SERIAL: &str = "code";
const LAYERS_SERIAL: &str = "layers";
const SCRATCH_SERIAL: &str = "tmp";

/// The runtimes that were built on a host.
#[derive(Debug, Clone)]
pub struct Runtimes {
    directory: PathBuf,
}

/// One version of a runtime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeVersion {
    format: u32,
    /// The runtime's name, for example `python3.11`.
    pub runtime: String,
    /// 64 hexadecimal digits, as in AWS's `RuntimeVersionArn`.
    pub id: String,
    /// Its number among the versions of this runtime on the host that built it, from 1.
    pub number: u32,
    /// Digest of the recipe that made it.
    pub recipe: String,
    /// Debian's release.
    pub suite: String,
    /// The interface client and its version; `None` for runtimes that a function brings itself.
    pub client: Option<String>,
    /// When it was built, in seconds since 1970.
    pub built_at: u64,
    /// Size of its root, in bytes.
    pub bytes: u64,
    #[serde(skip)]
    directory: PathBuf,
}

impl Runtimes {
    /// The runtimes below `directory`, which need not exist.
    pub fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// The directory with all of them.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// All complete versions, by runtime and then from the oldest to the newest. Blocks.
    ///
    /// # Errors
    ///
    /// A directory cannot be read.
    pub fn list(&self) -> io::Result<Vec<RuntimeVersion>> {
        let mut found = Vec::new();
        for runtime in RUNTIMES {
            found.extend(self.versions(runtime.name)?);
        }
        Ok(found)
    }

    /// The newest version of a runtime. Blocks.
    ///
    /// # Errors
    ///
    /// A directory cannot be read.
    pub fn newest(&self, runtime: &str) -> io::Result<Option<RuntimeVersion>> {
        match recipe_of(runtime) {
            Some(recipe) => Ok(self.versions(recipe.name)?.pop()),
            None => Ok(None),
        }
    }

    fn versions(&self, runtime: &str) -> io::Result<Vec<RuntimeVersion>> {
        let entries = match fs::read_dir(self.directory.join(runtime)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut versions = Vec::new();
        for entry in entries {
            // What cannot be read is of another release, or not finished.
            versions.extend(RuntimeVersion::read(&entry?.path()));
        }
        versions.sort_by_key(|version: &RuntimeVersion| (version.number, version.built_at));
        Ok(versions)
    }
}

impl RuntimeVersion {
    fn read(directory: &Path) -> Option<Self> {
        let path = directory.join(RECORD);
        if fs::metadata(&path).ok()?.len() > MAX_RECORD_BYTES {
            return None;
        }
        let mut version: Self = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        version.directory = directory.to_owned();
        let is_complete = version.files().iter().all(|file| file.is_file());
        (version.format == FORMAT && is_complete).then_some(version)
    }

    /// Its files, the record last: what has to be copied to another host. `tmp.ext4` is sparse.
    #[must_use]
    pub fn files(&self) -> [PathBuf; 5] {
        [ROOT, SCRATCH, EMPTY, PACKAGES, RECORD].map(|name| self.directory.join(name))
    }

    /// The disks of an environment, in the order in which the guest finds them.
    #[must_use]
    pub fn disk_requests(&self, code: &Path, layers: &Path) -> Vec<DiskRequest> {
        let disk = |serial: &str, image: PathBuf| DiskRequest {
            serial: serial.to_owned(),
            image,
            overlays: Vec::new(),
            is_writable: serial == SCRATCH_SERIAL,
        };
        vec![
            disk(RUNTIME_SERIAL, self.directory.join(ROOT)),
            disk(CODE_SERIAL, code.to_owned()),
            disk(LAYERS_SERIAL, layers.to_owned()),
            disk(SCRATCH_SERIAL, self.directory.join(SCRATCH)),
        ]
    }

    /// The disks of the guest that is sealed as the template of environments.
    #[must_use]
    pub fn template_disks(&self) -> Vec<DiskRequest> {
        let empty = self.directory.join(EMPTY);
        self.disk_requests(&empty, &empty)
    }

    /// How the agent knows the disks.
    #[must_use]
    pub fn function_disks(&self, scratch_bytes: u64) -> hearth_wire::agent::FunctionDisks {
        hearth_wire::agent::FunctionDisks {
            runtime: RUNTIME_SERIAL.to_owned(),
            code: CODE_SERIAL.to_owned(),
            layers: LAYERS_SERIAL.to_owned(),
            scratch: SCRATCH_SERIAL.to_owned(),
            scratch_bytes,
        }
    }

    /// What the agent does in a guest that becomes the template of environments.
    #[must_use]
    pub fn mount(&self) -> hearth_wire::agent::RuntimeMount {
        let recipe = recipe_of(&self.runtime);
        hearth_wire::agent::RuntimeMount {
            serial: RUNTIME_SERIAL.to_owned(),
            warm_up: recipe.map_or_else(Vec::new, RuntimeRecipe::warm_up),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_complete_version_counts() {
        let scratch = tempfile::tempdir().unwrap();
        let runtimes = Runtimes::new(scratch.path().join("runtimes"));
        assert_eq!(runtimes.list().unwrap(), []);
        for (number, files) in [(1, 5), (2, 5), (3, 4)] {
            let directory = runtimes.directory().join(format!("python3.11/{number}"));
            fs::create_dir_all(&directory).unwrap();
            let version = RuntimeVersion {
                format: FORMAT,
                runtime: "python3.11".to_owned(),
                id: number.to_string(),
                number,
                recipe: String::new(),
                suite: "bookworm".to_owned(),
                client: None,
                built_at: 0,
                bytes: 0,
                directory: directory.clone(),
            };
            for file in version.files().iter().rev().take(files) {
                fs::write(file, "").unwrap();
            }
            let record = serde_json::to_vec(&version).unwrap();
            fs::write(directory.join(RECORD), record).unwrap();
        }
        assert_eq!(runtimes.newest("python3.11").unwrap().unwrap().number, 2);
        assert_eq!(runtimes.newest("cobol").unwrap(), None);
        assert_eq!(runtimes.list().unwrap().len(), 2);
    }
}
