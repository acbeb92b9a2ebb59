//! Results of whole builds: the same artifact on the same bases is not built again.
//!
//! ```text
//! <directory>/<account>/<set of bases>/<digest>.json    the root
//!                                      <digest>.erofs   its layer disk: the same file as the version's
//! ```
//!
//! A result is what buildah would produce if it found every layer, without the microVM to run it. Results are removed
//! together with the layers beside them, and before the layers if both exceed the limit of the cache.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::{Lease, entries, is_old, taken};
use crate::bases::Bases;
use crate::reuse::Digest;
use crate::root::{LAYER_SERIAL, Root, STORE_SERIAL};

const ROOT: &str = "json";
const LAYER: &str = "erofs";

impl Lease {
    /// The root of an earlier build of that digest. Its layer disk, if it has one, is linked to `layer`. A result
    /// that cannot be read counts as none.
    pub(crate) fn find(&self, digest: &Digest, bases: &Bases, layer: &Path) -> Option<Root> {
        let record = self.result(digest, ROOT);
        if is_old(&record) {
            return None;
        }
        let mut root: Root = serde_json::from_slice(&fs::read(record).ok()?).ok()?;
        for disk in &mut root.disks {
            disk.image = match disk.serial.as_str() {
                STORE_SERIAL => bases.store(),
                LAYER_SERIAL => layer.to_owned(),
                _ => return None,
            };
        }
        if has_layer(&root) {
            publish(&self.result(digest, LAYER), layer).ok()?;
        }
        Some(root)
    }

    /// Keeps the result of a build. No-op if there is no room for it.
    pub(crate) fn remember(&self, digest: &Digest, root: &Root) -> io::Result<()> {
        let _users = self.caches.users();
        let layer = root.disks.iter().find(|disk| disk.serial == LAYER_SERIAL);
        let layer: Vec<PathBuf> = layer.map(|disk| disk.image.clone()).into_iter().collect();
        let room = self.caches.limit_bytes.saturating_sub(taken(&layer));
        if taken(&self.overlays) > room {
            return Ok(());
        }
        self.make_room(room)?;
        if let [layer] = &layer[..] {
            let kept = self.result(digest, LAYER);
            remove(&kept)?;
            publish(layer, &kept)?;
        }
        // No rename is needed: a partial record does not parse, and the next build writes it again.
        let text = serde_json::to_vec(root).map_err(io::Error::other)?;
        fs::write(self.result(digest, ROOT), text)
    }

    /// Removes results, the oldest first, until layers and results fit in that many bytes.
    pub(super) fn make_room(&self, bytes: u64) -> io::Result<()> {
        let mut results: Vec<PathBuf> = entries(&self.place)?;
        results.retain(|path| path.extension().is_some_and(|kind| kind == ROOT));
        results.sort_by_cached_key(|path| path.metadata().and_then(|found| found.modified()).ok());
        for record in results {
            if taken(&self.held()?) <= bytes {
                break;
            }
            remove(&record)?;
            remove(&record.with_extension(LAYER))?;
        }
        Ok(())
    }

    fn result(&self, digest: &Digest, kind: &str) -> PathBuf {
        self.place.join(format!("{digest}.{kind}"))
    }
}

fn has_layer(root: &Root) -> bool {
    root.disks.iter().any(|disk| disk.serial == LAYER_SERIAL)
}

/// Removes a file. Succeeds if it does not exist.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Gives a disk that nobody writes any more a second name.
fn publish(disk: &Path, name: &Path) -> io::Result<()> {
    fs::hard_link(disk, name)?;
    File::open(name.parent().unwrap_or(Path::new(".")))?.sync_all()
}
