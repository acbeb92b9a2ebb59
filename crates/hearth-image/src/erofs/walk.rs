//! A tree from a directory of this host.

use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::tree::{Attributes, Item, PathError, Tree};

/// Most files of a tree, so that a wrong path does not read a whole machine.
const MAX_ITEMS: usize = 1_000_000;

/// Permissions without the bits that change a program's user, which nothing in a guest may.
const PERMISSIONS: u32 = 0o1777;

/// Why a directory did not become a tree.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WalkError {
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A name that cannot be in a tree.
    #[error(transparent)]
    Path(#[from] PathError),
    /// There are too many files.
    #[error("there are more than {MAX_ITEMS} files")]
    TooMany,
}

/// Reads names and attributes of everything below `top`. All times are `modified`, so that equal files give equal
/// trees. Devices, sockets and pipes are left out.
pub(crate) fn walk(top: &Path, modified: u64) -> Result<Tree<PathBuf>, WalkError> {
    let read = |path: &Path| {
        let path = path.to_owned();
        move |source| WalkError::Read { path, source }
    };
    let attributes = |found: &fs::Metadata| Attributes {
        permissions: (found.permissions().mode() & PERMISSIONS) as u16,
        uid: found.uid(),
        gid: found.gid(),
        modified,
    };
    let found = fs::metadata(top).map_err(read(top))?;
    let mut tree = Tree::new(attributes(&found));
    let missing = Attributes::of_root(0o755, modified);
    let mut waiting = vec![top.to_owned()];
    let mut count = 0;
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(&directory).map_err(read(&directory))? {
            let path = entry.map_err(read(&directory))?.path();
            let found = fs::symlink_metadata(&path).map_err(read(&path))?;
            let attributes = attributes(&found);
            let item = if found.is_dir() {
                waiting.push(path.clone());
                Item::empty(attributes)
            } else if found.is_symlink() {
                let target = fs::read_link(&path).map_err(read(&path))?;
                let target = target.into_os_string().into_vec();
                Item::Link { attributes, target }
            } else if found.is_file() {
                Item::File {
                    attributes,
                    bytes: found.len(),
                    content: path.clone(),
                }
            } else {
                continue;
            };
            let relative = path.strip_prefix(top).unwrap_or(&path);
            tree.put(relative.as_os_str().as_bytes(), item, missing)?;
            count += 1;
            if count > MAX_ITEMS {
                return Err(WalkError::TooMany);
            }
        }
    }
    Ok(tree)
}
