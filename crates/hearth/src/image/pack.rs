//! Packs a folder into the zip of a build.
//!
//! The same folder gives the same bytes: names sorted, no times, permissions only as far as "may be executed".

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use flate2::Compression;
use flate2::write::DeflateEncoder;
use rawzip::path::EntryPath;
use rawzip::{CompressionMethod, ZipArchiveWriter};

use super::ignore::Ignore;

const IGNORE_FILE: &str = ".dockerignore";

/// Permissions in the zip, with the type of file.
const REGULAR: u32 = 0o100_644;
const EXECUTABLE: u32 = 0o100_755;
const LINK: u32 = 0o120_777;

/// A packed folder.
pub(super) struct Package {
    pub(super) zip: Vec<u8>,
    /// Files and links in it.
    pub(super) count: usize,
}

/// An entry of the zip.
struct Entry {
    /// Parts of its name, with slashes between them.
    name: String,
    path: PathBuf,
    is_link: bool,
}

/// Packs a folder with a Dockerfile.
pub(super) fn pack(folder: &Path) -> Result<Package> {
    if !folder.join("Dockerfile").is_file() {
        bail!(
            "{} has no Dockerfile, by which an image is built",
            folder.display()
        );
    }
    let ignore = match fs::read_to_string(folder.join(IGNORE_FILE)) {
        Ok(text) => Ignore::parse(&text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ignore::default(),
        Err(error) => return Err(error).with_context(|| format!("cannot read {IGNORE_FILE}")),
    };
    let mut entries = Vec::new();
    collect(folder, "", &ignore, &mut entries)?;
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    let mut archive = ZipArchiveWriter::new(Vec::new());
    for entry in &entries {
        add(&mut archive, entry)
            .with_context(|| format!("cannot pack {}", entry.path.display()))?;
    }
    Ok(Package {
        zip: archive.finish()?,
        count: entries.len(),
    })
}

/// Folders are not entries of their own: unpacking a file makes its folders. Empty folders are left out.
fn collect(folder: &Path, place: &str, ignore: &Ignore, entries: &mut Vec<Entry>) -> Result<()> {
    let listed =
        fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    for item in listed {
        let item = item?;
        let path = item.path();
        let Some(name) = item
            .file_name()
            .to_str()
            .map(|name| format!("{place}{name}"))
        else {
            bail!("{} has a name that is not UTF-8", path.display());
        };
        let kind = item.file_type()?;
        if kind.is_dir() {
            // An excluded folder is searched too: a later pattern may include a file in it.
            collect(&path, &format!("{name}/"), ignore, entries)?;
            continue;
        }
        if ignore.excludes(&name.split('/').collect::<Vec<_>>()) {
            continue;
        }
        if !kind.is_file() && !kind.is_symlink() {
            bail!(
                "{} is neither file, folder nor link; name it in {IGNORE_FILE}",
                path.display()
            );
        }
        entries.push(Entry {
            name,
            is_link: kind.is_symlink(),
            path,
        });
    }
    Ok(())
}

fn add(archive: &mut ZipArchiveWriter<Vec<u8>>, entry: &Entry) -> Result<()> {
    let permissions = if entry.is_link {
        LINK
    } else if fs::metadata(&entry.path)?.permissions().mode() & 0o111 != 0 {
        EXECUTABLE
    } else {
        REGULAR
    };
    let (mut target, config) = archive
        .new_file(EntryPath::verbatim(entry.name.as_bytes()))
        .compression_method(CompressionMethod::DEFLATE)
        .unix_permissions(permissions)
        .start()?;
    let encoder = DeflateEncoder::new(&mut target, Compression::default());
    let mut writer = config.wrap(encoder);
    if entry.is_link {
        let link = fs::read_link(&entry.path)?;
        writer.write_all(link.as_os_str().as_encoded_bytes())?;
    } else {
        io::copy(&mut File::open(&entry.path)?, &mut writer)?;
    }
    let (encoder, described) = writer.finish()?;
    encoder.finish()?;
    target.finish(described)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(package: &Package) -> Vec<String> {
        let archive = rawzip::ZipArchive::from_slice(&package.zip).unwrap();
        let mut names = Vec::new();
        for entry in archive.entries() {
            let entry = entry.unwrap();
            names.push(String::from_utf8(entry.file_path().as_ref().to_vec()).unwrap());
        }
        names
    }

    fn write(folder: &Path, name: &str, content: &str) {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    #[test]
    fn a_folder_gives_the_same_bytes_again() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b/c.py", "Dockerfile", "a.py"] {
            write(folder.path(), name, name);
        }
        std::os::unix::fs::symlink("a.py", folder.path().join("link")).unwrap();
        let first = pack(folder.path()).unwrap();
        assert_eq!(names(&first), ["Dockerfile", "a.py", "b/c.py", "link"]);
        assert_eq!(first.count, 4);
        // Another time of change is no other content.
        write(folder.path(), "a.py", "a.py");
        let later = fs::File::options()
            .append(true)
            .open(folder.path().join("a.py"))
            .unwrap();
        later.set_modified(std::time::UNIX_EPOCH).unwrap();
        assert_eq!(pack(folder.path()).unwrap().zip, first.zip);
        write(folder.path(), "a.py", "other");
        assert_ne!(pack(folder.path()).unwrap().zip, first.zip);
    }

    #[test]
    fn ignored_files_stay() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "Dockerfile",
            "a.py",
            "target/x",
            "target/keep",
            ".git/config",
        ] {
            write(folder.path(), name, "x");
        }
        write(
            folder.path(),
            ".dockerignore",
            ".git\ntarget\n!target/keep\n",
        );
        let package = pack(folder.path()).unwrap();
        assert_eq!(
            names(&package),
            [".dockerignore", "Dockerfile", "a.py", "target/keep"]
        );
    }

    #[test]
    fn a_folder_without_a_dockerfile_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(pack(folder.path()).is_err());
    }
}
