//! The code of a function: a folder, which is packed, or a zip.

use std::fs;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use flate2::read::DeflateDecoder;
use rawzip::{CompressionMethod, ZipArchive};

use super::guess::SourceFile;
use crate::pack;

/// Largest zip that is read: what the service takes from an object, unpacked.
const MAX_ZIP_BYTES: u64 = 262_144_000;

/// How much of a file is looked at for a handler.
const MAX_TEXT_BYTES: u64 = 1 << 20;

/// Longest name of a function (AWS).
const MAX_NAME_CHARACTERS: usize = 64;

/// The code, ready to be sent.
#[derive(Debug, Clone)]
pub(super) struct Code {
    pub(super) zip: Bytes,
    /// Files and links in it.
    pub(super) count: usize,
    /// Those that may say what the function is.
    pub(super) files: Vec<SourceFile>,
}

/// Packs a folder, or reads a zip.
pub(super) fn read(path: &Path) -> Result<Code> {
    let zip = if path.is_dir() {
        let package = pack::function(path)?;
        if package.count == 0 {
            bail!("{} has no files", path.display());
        }
        package.zip
    } else {
        read_zip(path)?
    };
    let (count, files) = look_into(&zip)
        .with_context(|| format!("{} is neither a folder nor a zip", path.display()))?;
    Ok(Code {
        zip: zip.into(),
        count,
        files,
    })
}

fn read_zip(path: &Path) -> Result<Vec<u8>> {
    let failed = || format!("cannot read {}", path.display());
    let bytes = fs::metadata(path).with_context(failed)?.len();
    if bytes > MAX_ZIP_BYTES {
        bail!(
            "{} has more than {MAX_ZIP_BYTES} bytes, which no function may have",
            path.display()
        );
    }
    fs::read(path).with_context(failed)
}

/// Counts the files of a zip, and reads those directly in it that may say what the function is.
fn look_into(zip: &[u8]) -> Result<(usize, Vec<SourceFile>)> {
    let archive = ZipArchive::from_slice(zip)?;
    let (mut count, mut files) = (0, Vec::new());
    for entry in archive.entries() {
        let entry = entry?;
        let name = String::from_utf8_lossy(entry.file_path().as_ref()).into_owned();
        if name.ends_with('/') {
            continue;
        }
        count += 1;
        if !may_say(&name) {
            continue;
        }
        let data = archive.get_entry(entry.wayfinder())?.data();
        let text = match entry.compression_method() {
            CompressionMethod::STORE => beginning(data),
            _ => beginning(DeflateDecoder::new(data)),
        };
        let mode = entry.mode().value();
        files.push(SourceFile {
            name,
            text,
            // A zip of another system has no modes, and the service gives such files all of them.
            is_executable: mode & 0o777 == 0 || mode & 0o111 != 0,
        });
    }
    Ok((count, files))
}

/// Whether a handler may be in this file.
fn may_say(name: &str) -> bool {
    let ending = Path::new(name)
        .extension()
        .and_then(|ending| ending.to_str());
    !name.contains('/')
        && (name == "bootstrap" || matches!(ending, Some("py" | "js" | "mjs" | "cjs")))
}

/// The beginning of a text. What cannot be read of it is left out: the service judges the zip.
fn beginning(source: impl Read) -> String {
    let mut bytes = Vec::new();
    let _ = source.take(MAX_TEXT_BYTES).read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The name of the folder or zip, with a dash for each character that a function's name may not have.
pub(super) fn name_of(path: &Path) -> Result<String> {
    let whole = path
        .canonicalize()
        .with_context(|| format!("there is no {}", path.display()))?;
    let name = match whole.is_dir() {
        true => whole.file_name(),
        false => whole.file_stem(),
    };
    let allowed = |character: char| match character {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '-' => character,
        _ => '-',
    };
    let name = name.unwrap_or_default().to_string_lossy();
    let name: String = name
        .chars()
        .take(MAX_NAME_CHARACTERS)
        .map(allowed)
        .collect();
    if name.is_empty() {
        bail!("this folder has no name; give the function one with --name");
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_folder_and_its_zip_say_the_same() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("my function.v2");
        fs::create_dir_all(folder.join("lib")).unwrap();
        fs::write(folder.join("app.py"), "def handler(e, c): pass\n").unwrap();
        fs::write(folder.join("lib/other.py"), "def handler(e, c): pass\n").unwrap();
        fs::write(folder.join("bootstrap"), "#!/bin/sh\n").unwrap();
        fs::set_permissions(folder.join("bootstrap"), fs::Permissions::from_mode(0o755)).unwrap();
        let packed = read(&folder).unwrap();
        assert_eq!(packed.count, 3);
        let names: Vec<_> = packed.files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["app.py", "bootstrap"]);
        assert!(packed.files[0].text.starts_with("def handler"));
        let executable = packed.files.iter().map(|file| file.is_executable);
        assert_eq!(executable.collect::<Vec<_>>(), [false, true]);
        let zip = parent.path().join("code.zip");
        fs::write(&zip, &packed.zip).unwrap();
        let again = read(&zip).unwrap();
        assert_eq!((again.count, &again.files), (3, &packed.files));
        assert_eq!(name_of(&folder).unwrap(), "my-function-v2");
        assert_eq!(name_of(&zip).unwrap(), "code");
    }

    #[test]
    fn what_is_no_code_is_told() {
        let parent = tempfile::tempdir().unwrap();
        let text = parent.path().join("a.txt");
        fs::write(&text, "no zip").unwrap();
        let error = read(&text).unwrap_err();
        assert!(
            error.to_string().contains("neither a folder nor a zip"),
            "{error:#}"
        );
        let empty = parent.path().join("empty");
        fs::create_dir(&empty).unwrap();
        assert!(read(&empty).unwrap_err().to_string().contains("no files"));
        assert!(read(&parent.path().join("none")).is_err());
        assert!(name_of(&parent.path().join("none")).is_err());
    }
}
