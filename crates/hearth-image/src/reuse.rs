//! A digest of everything that a build reads: builds of the same digest have the same result.

use std::collections::BTreeMap;
use std::fmt;

use hearth_net::Egress;

use crate::artifact::{Artifact, ArtifactError};
use crate::guest;

/// BLAKE3 digest of everything that a build reads except its bases, which the cache belongs to, and the times of files: as `docker build`
/// takes a file for unchanged that was written again, so that a zip that is packed anew needs no build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Digest(pub(crate) blake3::Hash);

impl Digest {
    /// The digest of a build of `artifact`. `None` if the Dockerfile may fetch something that may have changed.
    /// Blocks: it reads the artifact.
    pub(crate) fn of(
        artifact: &Artifact,
        aliases: &BTreeMap<String, String>,
        egress: &Egress,
    ) -> Result<Option<Self>, ArtifactError> {
        let dockerfile = artifact.dockerfile()?;
        if dockerfile.is_none_or(|text| may_fetch(&text)) {
            return Ok(None);
        }
        let mut hasher = blake3::Hasher::new();
        // Another release may build in another way.
        let surroundings = (env!("CARGO_PKG_VERSION"), guest::SCRIPT, aliases, egress);
        // Serialising these values to a hasher does not fail.
        if serde_json::to_writer(&mut hasher, &surroundings).is_err() {
            return Ok(None);
        }
        artifact.write_without_times(&mut hasher)?;
        Ok(Some(Self(hasher.finalize())))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Whether a Dockerfile may have an `ADD`, which fetches its address again. Errs on the safe side: a continuation
/// line that begins with `add` counts, too. Images that `FROM` and `COPY --from` pull are found in the store after
/// the build.
fn may_fetch(dockerfile: &str) -> bool {
    dockerfile.lines().any(|line| {
        let mut words = line.split_whitespace().map(str::to_ascii_lowercase);
        let instruction = words.next();
        let instruction = match instruction.as_deref() {
            Some("onbuild") => words.next(),
            _ => instruction,
        };
        instruction.as_deref() == Some("add")
    })
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;

    use super::*;
    use crate::artifact::ArtifactLimits;

    fn digest(files: &[(&str, &str)], aliases: &[(&str, &str)], egress: &Egress) -> Option<Digest> {
        digest_at(1_700_000_000, files, aliases, egress)
    }

    fn digest_at(
        seconds: i64,
        files: &[(&str, &str)],
        aliases: &[(&str, &str)],
        egress: &Egress,
    ) -> Option<Digest> {
        let time = rawzip::time::UtcDateTime::from_unix(seconds);
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a.zip");
        let mut archive = rawzip::ZipArchiveWriter::new(File::create(&path).unwrap());
        for (name, content) in files {
            let file = archive.new_file(*name).last_modified(time);
            let (mut entry, config) = file.start().unwrap();
            let mut writer = config.wrap(&mut entry);
            writer.write_all(content.as_bytes()).unwrap();
            let (_, descriptor) = writer.finish().unwrap();
            entry.finish(descriptor).unwrap();
        }
        archive.finish().unwrap();
        let artifact = Artifact::open(&path, &ArtifactLimits::default()).unwrap();
        let owned = |(name, image): &(&str, &str)| ((*name).to_owned(), (*image).to_owned());
        Digest::of(&artifact, &aliases.iter().map(owned).collect(), egress).unwrap()
    }

    #[test]
    fn everything_that_a_build_reads_counts() {
        let files = [
            ("Dockerfile", "FROM hearth/debian:12\nCOPY a /\n"),
            ("a", "1"),
        ];
        let closed = Egress::closed();
        let first = digest(&files, &[], &closed);
        assert!(first.is_some());
        assert_eq!(first, digest(&files, &[], &closed));
        // Packed again at another time.
        assert_eq!(first, digest_at(1_700_000_060, &files, &[], &closed));
        let others = [
            digest(&[files[0], ("a", "2")], &[], &closed),
            digest(&[files[0], ("b", "1")], &[], &closed),
            digest(&[("Dockerfile", "FROM scratch\n"), files[1]], &[], &closed),
            digest(&files, &[("debian", "hearth/debian:12")], &closed),
            digest(
                &files,
                &[],
                &Egress {
                    internet: true,
                    ..Egress::closed()
                },
            ),
        ];
        for other in others {
            assert!(other.is_some());
            assert_ne!(first, other);
        }
    }

    #[test]
    fn what_may_change_outside_has_no_digest() {
        for line in [
            "ADD https://example.com/x /x",
            "add $SOURCE /x",
            "  ONBUILD ADD x /x",
        ] {
            let dockerfile = format!("FROM hearth/debian:12\n{line}\n");
            let digest = digest(&[("Dockerfile", &dockerfile)], &[], &Egress::closed());
            assert_eq!(digest, None, "{line}");
        }
        assert!(!may_fetch("FROM a\nCOPY add /add\nRUN useradd me\n"));
    }
}
