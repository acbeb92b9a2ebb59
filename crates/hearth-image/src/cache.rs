//! Layers of earlier builds, for each account on a disk of its own.
//!
//! ```text
//! <directory>/<account>/<set of bases>/1.qcow2     what the first build wrote to the empty disk
//!                                      2.qcow2     what a later one added, an overlay of the one before
//!                                      <name>.new  of a build under way that is about to hand in its layers
//!                                      <digest>.*  what a whole build gave (`results.rs`)
//! ```
//!
//! A build sees the newest disk and writes to an overlay of its own. Files are never written again: builds of one account
//! read the same ones at the same time, the first that ends adds its overlay, the others' are dropped, and one that is
//! killed changes nothing. The disk was written by code of the account: it is mounted in builders of that account
//! alone, and never on the host.
//!
//! A cache that is too large, too old or in too many pieces starts anew. So does one that a build failed on in a way that
//! the cache may be to blame for.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime};

mod results;

/// Overlays that lie one on another: a read that finds nothing asks each, and the VMM holds each open.
const MAX_OVERLAYS: usize = 24;

/// `RUN apt-get update` is repeated at least that often.
const MAX_AGE: Duration = Duration::from_hours(7 * 24);

const OVERLAY: &str = "qcow2";
const PENDING: &str = "new";

/// The caches of all accounts of a host. One process uses them.
#[derive(Debug)]
pub struct LayerCaches {
    directory: PathBuf,
    /// Of one account, in bytes; 0 keeps nothing.
    limit_bytes: u64,
    /// Accounts that build right now.
    in_use: Mutex<HashMap<String, Weak<()>>>,
}

/// What one build has of its account's cache.
#[derive(Debug)]
pub struct Lease {
    caches: Arc<LayerCaches>,
    account: String,
    place: PathBuf,
    /// Overlays when the build began, the first at the bottom.
    overlays: Vec<PathBuf>,
    /// Lives as long as the account builds.
    user: Arc<()>,
}

/// What became of the layers of a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// The next build finds them.
    Added,
    /// Another build of this account ended first.
    Overtaken,
    /// All is more than the cache may take: it is empty now.
    TooLarge {
        /// What it would be, in bytes.
        bytes: u64,
    },
}

impl LayerCaches {
    /// Caches in `directory`, each of at most `limit_bytes`.
    pub fn new(directory: PathBuf, limit_bytes: u64) -> Self {
        Self {
            directory,
            limit_bytes,
            in_use: Mutex::default(),
        }
    }

    /// What a build of that account, a plain word, has of its cache on this set of bases; nothing when caches are off or
    /// their directory cannot be used, which is logged.
    pub fn lease(self: &Arc<Self>, account: &str, bases: &str) -> Option<Lease> {
        if self.limit_bytes == 0 {
            return None;
        }
        match self.try_lease(account, bases) {
            Ok(lease) => Some(lease),
            Err(error) => {
                tracing::warn!(account, %error, "building without the cache of layers");
                None
            }
        }
    }

    /// What each account's cache takes on the host's disks, in bytes.
    pub fn usage(&self) -> io::Result<Vec<(String, u64)>> {
        let mut usage = Vec::new();
        for account in entries(&self.directory)? {
            let mut bytes = 0;
            for set in entries(&account)? {
                bytes += taken(&entries(&set)?);
            }
            usage.push((name(&account), bytes));
        }
        usage.sort();
        Ok(usage)
    }

    fn try_lease(self: &Arc<Self>, account: &str, bases: &str) -> io::Result<Lease> {
        let mut in_use = self.users();
        let of_account = self.directory.join(account);
        let place = of_account.join(bases);
        let user = match in_use.get(account).and_then(Weak::upgrade) {
            Some(user) => user,
            None => {
                self.tidy(&of_account, &place)?;
                Arc::new(())
            }
        };
        fs::create_dir_all(&place)?;
        in_use.retain(|_, user| user.strong_count() > 0);
        in_use.insert(account.to_owned(), Arc::downgrade(&user));
        Ok(Lease {
            caches: Arc::clone(self),
            account: account.to_owned(),
            overlays: chain(&place),
            place,
            user,
        })
    }

    /// Nobody builds: removes what a crash left, other sets' layers, and a cache that has to start anew.
    fn tidy(&self, of_account: &Path, place: &Path) -> io::Result<()> {
        for set in entries(of_account)? {
            if set != place {
                fs::remove_dir_all(set)?;
            }
        }
        for path in entries(place)?.iter().filter(|path| is_pending(path)) {
            fs::remove_file(path)?;
        }
        let overlays = chain(place);
        let is_old = overlays.first().is_some_and(|first| is_old(first));
        // The limit may have been another one.
        if is_old || overlays.len() >= MAX_OVERLAYS || taken(&entries(place)?) > self.limit_bytes {
            fs::remove_dir_all(place)?;
        }
        Ok(())
    }

    fn users(&self) -> MutexGuard<'_, HashMap<String, Weak<()>>> {
        self.in_use.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    /// The overlays, nearest to the top first.
    pub(crate) fn overlays(&self) -> Vec<PathBuf> {
        self.overlays.iter().rev().cloned().collect()
    }

    /// Whether an earlier build left something.
    pub(crate) fn has_layers(&self) -> bool {
        !self.overlays.is_empty()
    }

    /// Where the build of that name puts its overlay for [`Self::keep`].
    pub(crate) fn pending(&self, name: &str) -> PathBuf {
        self.place.join(format!("{name}.{PENDING}"))
    }

    /// Adds a pending overlay to the cache, unless there are reasons not to.
    pub(crate) fn keep(self, pending: &Path) -> io::Result<Kept> {
        let _users = self.caches.users();
        let next = self
            .place
            .join(format!("{}.{OVERLAY}", self.overlays.len() + 1));
        if chain(&self.place).len() != self.overlays.len() || next.exists() {
            fs::remove_file(pending)?;
            return Ok(Kept::Overtaken);
        }
        let bytes = taken(&self.overlays) + taken(&[pending.to_owned()]);
        // Results give way.
        self.make_room(
            self.caches
                .limit_bytes
                .saturating_sub(taken(&[pending.to_owned()])),
        )?;
        if bytes > self.caches.limit_bytes {
            fs::remove_file(pending)?;
            self.start_anew()?;
            return Ok(Kept::TooLarge { bytes });
        }
        fs::rename(pending, &next)?;
        File::open(&self.place)?.sync_all()?;
        Ok(Kept::Added)
    }

    /// What is kept for later builds, results included.
    fn held(&self) -> io::Result<Vec<PathBuf>> {
        let mut held = entries(&self.place)?;
        held.retain(|path| !is_pending(path));
        Ok(held)
    }

    /// Forgets all layers: a build failed on them, or may have. Answers the empty cache, unless others of the account build
    /// on it.
    pub(crate) fn discard(self) -> Option<Self> {
        let users = self.caches.users();
        if let Err(error) = self.start_anew() {
            tracing::warn!(account = self.account, %error, "a cache of layers is not removed");
        }
        drop(users);
        let overlays = chain(&self.place);
        overlays.is_empty().then_some(Self { overlays, ..self })
    }

    /// Others of the account may be about to open the files; then the last of them finds the same reason.
    fn start_anew(&self) -> io::Result<()> {
        if Arc::strong_count(&self.user) > 1 {
            return Ok(());
        }
        fs::remove_dir_all(&self.place)?;
        fs::create_dir_all(&self.place)
    }
}

/// The overlays in a directory as far as their numbers go on.
fn chain(place: &Path) -> Vec<PathBuf> {
    (1..)
        .map(|number: usize| place.join(format!("{number}.{OVERLAY}")))
        .take_while(|path| path.exists())
        .collect()
}

/// Whether it is of a build that is still under way, or was killed.
fn is_pending(path: &Path) -> bool {
    path.extension() == Some(OsStr::new(PENDING))
}

fn is_old(path: &Path) -> bool {
    let written = path.metadata().and_then(|metadata| metadata.modified());
    // A clock that was set back makes no difference.
    written.is_ok_and(|at| {
        SystemTime::now()
            .duration_since(at)
            .is_ok_and(|age| age > MAX_AGE)
    })
}

/// What files take, holes left out. One that is gone by now takes nothing.
fn taken(files: &[PathBuf]) -> u64 {
    let blocks = |file: &PathBuf| file.metadata().map_or(0, |metadata| metadata.blocks());
    files.iter().map(blocks).sum::<u64>() * 512
}

/// What is in a directory; nothing when there is none.
fn entries(directory: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(directory) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests;
