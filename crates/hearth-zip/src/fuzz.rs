//! The body of the fuzz target `artifact_zip`.

use std::fs::File;
use std::io::{Seek, Write};
use std::path::{Component, Path};

use crate::{Archive, ArchiveLimits};

/// Small limits, so that an input which exceeds them is found soon.
const LIMITS: ArchiveLimits = ArchiveLimits {
    archive_bytes: 1 << 20,
    entries: 64,
    content_bytes: 1 << 20,
    ratio: 200,
    name_bytes: 256,
};

/// Fuzz target: checks a zip and converts it to a tar. The tar must have only paths below the root, no more entries
/// than were checked, and no more bytes than the directory says.
pub fn archive(input: &[u8]) {
    let Some(file) = file(input) else {
        return;
    };
    let Ok(zip) = Archive::of_file(file, &LIMITS) else {
        return;
    };
    assert!(zip.entries() <= LIMITS.entries);
    assert!(zip.content_bytes() <= LIMITS.content_bytes);
    let mut tar = Vec::new();
    // Content that is other than promised ends it half-way.
    let _ = zip.write_tar(&mut tar);
    let mut archive = tar::Archive::new(tar.as_slice());
    let Ok(entries) = archive.entries() else {
        return;
    };
    let mut bytes = 0;
    for entry in entries {
        let Ok(entry) = entry else { break };
        let Ok(path) = entry.path() else { break };
        assert!(is_below(&path), "{}", path.display());
        bytes += entry.size();
    }
    assert!(bytes <= LIMITS.content_bytes, "{bytes} bytes");
}

/// A file without a name.
fn file(input: &[u8]) -> Option<File> {
    let mut file = tempfile::tempfile().ok()?;
    file.write_all(input).ok()?;
    file.rewind().ok()?;
    Some(file)
}

fn is_below(path: &Path) -> bool {
    path.components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

#[cfg(test)]
mod tests {
    #[test]
    fn fuzz_artifact_zip() {
        let words: &[&[u8]] = &[
            b"../",
            b"/",
            b"PK\x01\x02",
            b"PK\x03\x04",
            b"PK\x05\x06",
            b"PK\x06\x06",
            b"\xff\xff\xff\xff",
            b"Dockerfile",
        ];
        hearth_corpus::run("artifact_zip", words, super::archive);
    }
}
