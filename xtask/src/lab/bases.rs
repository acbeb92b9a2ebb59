//! The image builder's bases: prepared once on this machine, and copied into the lab for the tests that need them.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use hearth_image::{Bases, PrepareOptions, data_extents};

use super::session::Session;
use super::sync::shell;
use super::{data_dir, session};

/// The variable that tells tests the path of the bases.
pub(crate) const BASES_VARIABLE: &str = "HEARTH_TEST_BASES";

/// The path of the bases in the lab.
const GUEST_BASES: &str = "/data/bases";

/// The directory of the bases on this machine; they are prepared if they are not there yet.
pub(crate) fn prepare() -> Result<PathBuf> {
    prepare_telling(&session::say)
}

/// The same, with a callback that receives the announcements of slow steps.
pub(crate) fn prepare_telling(progress: &dyn Fn(&str)) -> Result<PathBuf> {
    let directory = data_dir().join("bases");
    hearth_image::prepare(&PrepareOptions {
        directory: directory.clone(),
        sources: vec![],
        progress,
    })?;
    Ok(directory)
}

/// Copies the bases of `directory` into the lab and answers their path. No-op if they are there.
pub(crate) fn send(session: &Session, directory: &Path) -> Result<&'static str> {
    // Tests run in parallel, and one sending serves them all.
    let _lock = session::lock()?;
    let bases = Bases::open(directory)?.context("the bases are gone")?;
    let [builder, store, scratch, work, record] = bases.files();
    let inside = |path: &Path| -> Result<PathBuf> {
        Ok(Path::new(GUEST_BASES).join(path.strip_prefix(directory)?))
    };
    let target = inside(&record)?;
    // It is copied last: if it is there, the bases are complete.
    let text = fs::read(&record)?;
    let path = target.display().to_string();
    if session
        .fetch(&path, text.len())
        .is_ok_and(|there| there == text)
    {
        return Ok(GUEST_BASES);
    }
    session::say("sending the image builder's bases");
    for file in [&builder, &store] {
        session.send(file, &inside(file)?)?;
    }
    for empty in [&scratch, &work] {
        send_sparse(session, empty, &inside(empty)?)?;
    }
    session.send(&record, &target)?;
    Ok(GUEST_BASES)
}

/// Sends the data of a sparse file, one extent after the other, and restores the sparse file in the lab.
pub(super) fn send_sparse(session: &Session, source: &Path, target: &Path) -> Result<()> {
    const BLOCK_BYTES: u64 = 4096;
    let file = File::open(source)?;
    let mut packed = Vec::new();
    let target = target.display();
    let bytes = file.metadata()?.len();
    let mut script = format!("set -e; rm -f {target}; truncate -s {bytes} {target}");
    for extent in data_extents(&file)? {
        // Extents are made of blocks; the last one may end with the file.
        let mut data = vec![0; usize::try_from(extent.end - extent.start)?];
        file.read_exact_at(&mut data, extent.start)?;
        data.resize(data.len().next_multiple_of(BLOCK_BYTES as usize), 0);
        script += &format!(
            "; dd if={target}.packed of={target} bs={BLOCK_BYTES} conv=notrunc skip={} seek={} count={} 2> /dev/null",
            packed.len() as u64 / BLOCK_BYTES,
            extent.start / BLOCK_BYTES,
            data.len() as u64 / BLOCK_BYTES,
        );
        packed.extend(data);
    }
    let local = source.with_extension("packed");
    fs::write(&local, packed)?;
    let sent = session.send(&local, Path::new(&format!("{target}.packed")));
    fs::remove_file(&local)?;
    sent?;
    shell(&session.agent(), &script).context("cannot unpack a sparse file in the lab")
}
