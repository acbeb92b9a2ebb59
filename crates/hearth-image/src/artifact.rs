//! The artifact: a zip with a `Dockerfile` at its root. It is never unpacked on the host: the builder microVM gets it as
//! a tar stream, and unpacks it beside the code that it belongs to.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use hearth_zip::Archive;

pub use hearth_zip::{ArchiveError as ArtifactError, ArchiveLimits as ArtifactLimits};

/// The file that an artifact must have.
const DOCKERFILE: &str = "Dockerfile";

/// Longest Dockerfile that is read, in bytes.
const MAX_DOCKERFILE_BYTES: u64 = 1 << 20;

/// An artifact that has passed all checks.
#[derive(Debug)]
pub struct Artifact(Archive);

impl Artifact {
    /// Opens and judges the zip at `path`: its directory. Blocks.
    pub fn open(path: &Path, limits: &ArtifactLimits) -> Result<Self, ArtifactError> {
        Self::of_file(File::open(path).map_err(ArtifactError::Read)?, limits)
    }

    /// Checks the zip in an open file. Blocks.
    pub fn of_file(file: File, limits: &ArtifactLimits) -> Result<Self, ArtifactError> {
        let archive = Archive::of_file(file, limits)?;
        if archive.has_file(DOCKERFILE) {
            Ok(Self(archive))
        } else {
            Err(ArtifactError::NoFile(DOCKERFILE.to_owned()))
        }
    }

    /// Number of files, directories and links.
    pub fn entries(&self) -> usize {
        self.0.entries()
    }

    /// Size of all its files when unpacked, in bytes.
    pub fn content_bytes(&self) -> u64 {
        self.0.content_bytes()
    }

    /// The text of the Dockerfile; `None` if it is longer than 1 MiB or not UTF-8. Blocks.
    pub(crate) fn dockerfile(&self) -> Result<Option<String>, ArtifactError> {
        self.0.text(DOCKERFILE, MAX_DOCKERFILE_BYTES)
    }

    /// Writes everything as a tar stream. Blocks. Content that is longer, shorter or other than the zip's directory
    /// says ends it with an error.
    pub fn write_tar(&self, sink: impl Write) -> Result<(), ArtifactError> {
        self.0.write_tar(sink)
    }

    /// Writes everything as [`Artifact::write_tar`] does, all of it of one time: what was packed anew is the same.
    pub(crate) fn write_without_times(&self, sink: impl Write) -> Result<(), ArtifactError> {
        self.0.write_without_times(sink)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Seek as _;

    use rawzip::ZipArchiveWriter;
    use rawzip::path::EntryPath;

    use super::*;

    fn open(names: &[&str]) -> Result<Artifact, ArtifactError> {
        let mut zip = ZipArchiveWriter::new(Vec::new());
        for name in names {
            let name = EntryPath::verbatim(name.as_bytes());
            let (entry, config) = zip.new_file(name).start().unwrap();
            let (entry, descriptor) = config.wrap(entry).finish().unwrap();
            entry.finish(descriptor).unwrap();
        }
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&zip.finish().unwrap()).unwrap();
        file.rewind().unwrap();
        Artifact::of_file(file, &ArtifactLimits::default())
    }

    #[test]
    fn a_dockerfile_at_the_root_is_needed() {
        for names in [&["sub/Dockerfile"][..], &["dockerfile"], &[]] {
            assert!(matches!(open(names), Err(ArtifactError::NoFile(_))));
        }
        assert_eq!(open(&["Dockerfile"]).unwrap().entries(), 1);
    }
}
