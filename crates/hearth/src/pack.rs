//! Packs a folder into a zip: of a build, what `docker build` would send of it; of a function, what runs.
//!
//! The same folder gives the same bytes: names sorted, and nothing that is not in the folder. Links stay links. Times,
//! modes and empty folders are kept.

mod ignore;

use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use flate2::Compression;
use flate2::write::DeflateEncoder;
use rawzip::path::EntryPath;
use rawzip::time::UtcDateTime;
use rawzip::{CompressionMethod, ZipArchiveWriter};

use ignore::Ignore;

/// Files with patterns, of a build. The first that is there counts, as for Docker.
const IGNORE_FILES_OF_BUILDS: &[&str] = &["Dockerfile.dockerignore", ".dockerignore"];

/// The same of a function.
const IGNORE_FILES_OF_FUNCTIONS: &[&str] = &[".dockerignore"];

/// A packed folder.
pub(crate) struct Package {
    pub(crate) zip: Vec<u8>,
    /// Files and links in it.
    pub(crate) count: usize,
}

/// What tells whether a file of a folder has changed, without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamp {
    name: String,
    modified_s: i64,
    modified_ns: i64,
    bytes: u64,
    mode: u32,
}

/// An entry of the zip.
struct Entry {
    /// Parts of its name, with slashes between them, and one at the end of a folder's.
    name: String,
    path: PathBuf,
    metadata: Metadata,
}

/// Packs a folder with a Dockerfile.
pub(crate) fn build(folder: &Path) -> Result<Package> {
    if !folder.join("Dockerfile").is_file() {
        bail!(
            "{} has no Dockerfile, by which an image is built",
            folder.display()
        );
    }
    zip(&entries(folder, IGNORE_FILES_OF_BUILDS)?)
}

/// Packs the folder of a function.
pub(crate) fn function(folder: &Path) -> Result<Package> {
    zip(&entries(folder, IGNORE_FILES_OF_FUNCTIONS)?)
}

/// The stamps of what [`function`] would pack.
pub(crate) fn function_stamps(folder: &Path) -> Result<Vec<Stamp>> {
    let entries = entries(folder, IGNORE_FILES_OF_FUNCTIONS)?.into_iter();
    // The time of a folder changes with each file that an editor makes beside another one.
    let files = entries.filter(|entry| !entry.metadata.is_dir());
    let stamp = |entry: Entry| Stamp {
        name: entry.name,
        modified_s: entry.metadata.mtime(),
        modified_ns: entry.metadata.mtime_nsec(),
        bytes: entry.metadata.len(),
        mode: entry.metadata.mode(),
    };
    Ok(files.map(stamp).collect())
}

/// What is sent of a folder, by name.
fn entries(folder: &Path, ignore_files: &[&str]) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    collect(
        folder,
        "",
        &read_ignore(folder, ignore_files)?,
        &mut entries,
    )?;
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

fn zip(entries: &[Entry]) -> Result<Package> {
    let mut archive = ZipArchiveWriter::new(Vec::new());
    for entry in entries {
        add(&mut archive, entry)
            .with_context(|| format!("cannot pack {}", entry.path.display()))?;
    }
    Ok(Package {
        zip: archive.finish()?,
        count: entries
            .iter()
            .filter(|entry| !entry.metadata.is_dir())
            .count(),
    })
}

fn read_ignore(folder: &Path, ignore_files: &[&str]) -> Result<Ignore> {
    for name in ignore_files {
        match fs::read_to_string(folder.join(name)) {
            Ok(text) => {
                return Ignore::parse(&text).with_context(|| format!("{name} is malformed"));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("cannot read {name}")),
        }
    }
    Ok(Ignore::default())
}

/// Collects what is below a folder. Returns whether anything of it is sent.
fn collect(folder: &Path, place: &str, ignore: &Ignore, entries: &mut Vec<Entry>) -> Result<bool> {
    let count = entries.len();
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
        let metadata = item
            .metadata()
            .with_context(|| format!("cannot look at {}", path.display()))?;
        let kind = metadata.file_type();
        let is_excluded = ignore.excludes(&name);
        if kind.is_dir() {
            // An excluded folder is searched too: a later pattern may include a file in it.
            let name = format!("{name}/");
            let has_content = collect(&path, &name, ignore, entries)?;
            if has_content || !is_excluded {
                entries.push(Entry {
                    name,
                    path,
                    metadata,
                });
            }
            continue;
        }
        // A socket is of a running program; Docker leaves it out as well.
        if is_excluded || kind.is_socket() {
            continue;
        }
        if !kind.is_file() && !kind.is_symlink() {
            bail!(
                "{} is neither file, folder nor link; name it in .dockerignore",
                path.display()
            );
        }
        entries.push(Entry {
            name,
            path,
            metadata,
        });
    }
    Ok(entries.len() > count)
}

fn add(archive: &mut ZipArchiveWriter<Vec<u8>>, entry: &Entry) -> Result<()> {
    let metadata = &entry.metadata;
    let name = EntryPath::verbatim(entry.name.as_bytes());
    // A zip says times before 1970 in other words, which the builder does not read.
    let modified = UtcDateTime::from_unix(metadata.mtime().max(0));
    if metadata.is_dir() {
        let directory = archive.new_dir(name).last_modified(modified);
        directory.unix_permissions(metadata.mode()).create()?;
        return Ok(());
    }
    let (mut target, config) = archive
        .new_file(name)
        .compression_method(CompressionMethod::DEFLATE)
        .last_modified(modified)
        .unix_permissions(metadata.mode())
        .start()?;
    let encoder = DeflateEncoder::new(&mut target, Compression::default());
    let mut writer = config.wrap(encoder);
    if metadata.is_symlink() {
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
        let first = build(folder.path()).unwrap();
        assert_eq!(
            names(&first),
            ["Dockerfile", "a.py", "b/", "b/c.py", "link"]
        );
        assert_eq!(first.count, 4);
        assert_eq!(build(folder.path()).unwrap().zip, first.zip);
        write(folder.path(), "a.py", "other");
        assert_ne!(build(folder.path()).unwrap().zip, first.zip);
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
        let package = build(folder.path()).unwrap();
        assert_eq!(
            names(&package),
            [
                ".dockerignore",
                "Dockerfile",
                "a.py",
                "target/",
                "target/keep"
            ]
        );
        // That of the Dockerfile counts alone.
        write(folder.path(), "Dockerfile.dockerignore", "*\n!.git\n");
        let package = build(folder.path()).unwrap();
        let kept = [
            ".dockerignore",
            ".git/",
            ".git/config",
            "Dockerfile",
            "Dockerfile.dockerignore",
        ];
        assert_eq!(names(&package), kept);
        write(folder.path(), "Dockerfile.dockerignore", "[a\n");
        let error = build(folder.path()).err().unwrap();
        assert!(format!("{error:#}").contains("line 1"), "{error:#}");
    }

    #[test]
    fn modes_times_links_and_empty_folders_are_kept() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "Dockerfile", "FROM a\n");
        let run = folder.path().join("run");
        write(folder.path(), "run", "x");
        fs::set_permissions(&run, fs::Permissions::from_mode(0o750)).unwrap();
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_600_000_001);
        File::options()
            .write(true)
            .open(&run)
            .unwrap()
            .set_modified(time)
            .unwrap();
        fs::create_dir(folder.path().join("empty")).unwrap();
        fs::set_permissions(
            folder.path().join("empty"),
            fs::Permissions::from_mode(0o700),
        )
        .unwrap();
        symlink("/usr/bin/python3", folder.path().join("python")).unwrap();
        symlink("../outside", folder.path().join("up")).unwrap();
        std::os::unix::net::UnixListener::bind(folder.path().join("socket")).unwrap();
        let package = build(folder.path()).unwrap();
        assert_eq!(package.count, 4);
        let archive = rawzip::ZipArchive::from_slice(&package.zip).unwrap();
        let mut found = std::collections::BTreeMap::new();
        for entry in archive.entries() {
            let entry = entry.unwrap();
            let name = String::from_utf8(entry.file_path().as_ref().to_vec()).unwrap();
            let rawzip::time::ZipDateTimeKind::Utc(time) = entry.last_modified() else {
                panic!("{name} has no exact time");
            };
            found.insert(name, (entry.mode().value(), time.to_unix()));
        }
        let names: Vec<&str> = found.keys().map(String::as_str).collect();
        assert_eq!(names, ["Dockerfile", "empty/", "python", "run", "up"]);
        assert_eq!(found["run"], (0o100_750, 1_600_000_001));
        assert_eq!(found["empty/"].0, 0o040_700);
        assert_eq!(found["python"].0 & 0o170_000, 0o120_000);
    }

    #[test]
    fn functions_need_no_dockerfile_and_have_one_ignore_file() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["app.py", "secret.txt", "data/a"] {
            write(folder.path(), name, "x");
        }
        assert_eq!(
            names(&function(folder.path()).unwrap()),
            ["app.py", "data/", "data/a", "secret.txt"]
        );
        write(folder.path(), "Dockerfile.dockerignore", "app.py\n");
        write(folder.path(), ".dockerignore", "secret.txt\n");
        let packed = names(&function(folder.path()).unwrap());
        assert!(packed.iter().any(|name| name == "app.py"), "{packed:?}");
        assert!(packed.iter().all(|name| name != "secret.txt"), "{packed:?}");
    }

    #[test]
    fn stamps_tell_changes_of_what_is_packed_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "app.py", "one");
        write(folder.path(), ".dockerignore", "*.log\n");
        let stamps = || function_stamps(folder.path()).unwrap();
        let before = stamps();
        write(folder.path(), "build.log", "x");
        assert_eq!(stamps(), before);
        let app = folder.path().join("app.py");
        fs::set_permissions(&app, fs::Permissions::from_mode(0o755)).unwrap();
        let executable = stamps();
        assert_ne!(executable, before);
        write(folder.path(), "app.py", "three");
        let longer = stamps();
        assert_ne!(longer, executable);
        fs::remove_file(&app).unwrap();
        assert_ne!(stamps(), longer);
    }

    #[test]
    fn a_folder_without_a_dockerfile_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(build(folder.path()).is_err());
    }
}
