//! Copies folders as tar archives.
//!
//! A guest packs the archive of a download, so the archive is not trusted. It is unpacked into a new folder, without
//! owners, devices, hard links and special permissions, and never through a symbolic link. The archive of an upload is
//! packed here, and the guest's agent takes the same care.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::Path;
use std::pin::Pin;
use std::task::{self, Poll, ready};

use anyhow::{Context, Result, bail};
use hearth_client::{Client, Payload};
use serde_json::Value;
use tar::{Archive, Builder, EntryType};
use tokio::io::AsyncWrite;

use super::{outside, write};

/// Copies a folder into a guest: to `path`, or below it if `path` ends with a slash.
pub(crate) async fn upload(client: &Client, id: &str, source: &Path, path: &str) -> Result<Value> {
    let (parent, name) = destination(source, path)?;
    let mut archive =
        pack(source, &name).with_context(|| format!("cannot pack {}", source.display()))?;
    archive.rewind()?;
    let payload = Payload::file(tokio::fs::File::from_std(archive)).await?;
    Ok(client.put_directory(id, &parent, payload).await?)
}

/// The existing directory in the guest, and the name of the new directory in it.
fn destination(source: &Path, path: &str) -> Result<(String, String)> {
    if let Some(parent) = path.strip_suffix('/') {
        let whole = std::path::absolute(source)?;
        let name = whole.file_name().context("this folder has no name")?;
        let name = name.to_str().context("the folder's name is not UTF-8")?;
        let parent = if parent.is_empty() { "/" } else { parent };
        return Ok((parent.to_owned(), name.to_owned()));
    }
    match path.rsplit_once('/') {
        Some((parent, name)) if !matches!(name, "." | "..") => {
            let parent = if parent.is_empty() { "/" } else { parent };
            Ok((parent.to_owned(), name.to_owned()))
        }
        _ => bail!("{path} names no directory"),
    }
}

/// The folder as an archive in a file without a name.
fn pack(source: &Path, name: &str) -> Result<File> {
    let mut archive = Builder::new(tempfile::tempfile()?);
    archive.follow_symlinks(false);
    // Plain files, whatever reads them: holes come as zeros, which the guest's agent makes holes again.
    archive.sparse(false);
    archive.append_dir_all(name, source)?;
    Ok(archive.into_inner()?)
}

/// Copies a directory out of a guest: to `target`, or into it if that folder exists.
///
/// At most `max_bytes` come, packed and unpacked: a guest can send an archive that never ends, or one whose holes
/// become zeros here.
pub(crate) async fn download(
    client: &Client,
    id: &str,
    path: &str,
    target: &Path,
    max_bytes: u64,
) -> Result<()> {
    let target = outside(path, target)?;
    if target.exists() {
        bail!("{} is there already", target.display());
    }
    let content = client.get_directory(id, path).await?;
    let mut spool = Bounded::new(tempfile::tempfile()?, max_bytes);
    write(content, &mut spool).await?;
    let mut archive = spool.into_file().await;
    archive.rewind()?;
    std::fs::create_dir(&target)
        .with_context(|| format!("cannot make the folder {}", target.display()))?;
    unpack(archive, &target, max_bytes)
        .with_context(|| format!("cannot unpack into {}", target.display()))
}

fn too_large(max_bytes: u64) -> String {
    let max_mib = max_bytes >> 20;
    format!("the folder has more than {max_mib} MiB; --max-size lets more come")
}

/// A file that takes so many bytes and no more.
struct Bounded {
    file: tokio::fs::File,
    max_bytes: u64,
    left_bytes: u64,
}

impl Bounded {
    fn new(file: File, max_bytes: u64) -> Self {
        Self {
            file: tokio::fs::File::from_std(file),
            max_bytes,
            left_bytes: max_bytes,
        }
    }

    async fn into_file(self) -> File {
        self.file.into_std().await
    }
}

impl AsyncWrite for Bounded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if bytes.len() as u64 > self.left_bytes {
            return Poll::Ready(Err(io::Error::other(too_large(self.max_bytes))));
        }
        let written = ready!(Pin::new(&mut self.file).poll_write(context, bytes))?;
        self.left_bytes -= written as u64;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.file).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.file).poll_shutdown(context)
    }
}

/// Unpacks an archive that is not trusted.
fn unpack(archive: impl Read, target: &Path, max_bytes: u64) -> Result<()> {
    let mut archive = Archive::new(archive);
    archive.set_preserve_permissions(false);
    archive.set_preserve_ownerships(false);
    archive.set_unpack_xattrs(false);
    archive.set_overwrite(false);
    let mut left_bytes = max_bytes;
    for entry in archive.entries()? {
        let mut entry = entry?;
        // Of a sparse file with its holes.
        left_bytes = left_bytes
            .checked_sub(entry.size())
            .with_context(|| too_large(max_bytes))?;
        let path = entry.path()?.into_owned();
        let kind = entry.header().entry_type();
        if !matches!(
            kind,
            EntryType::Regular | EntryType::Directory | EntryType::Symlink | EntryType::GNUSparse
        ) {
            bail!("{} is no file, folder or link", path.display());
        }
        // Answers whether the entry stays in the folder, also through symbolic links.
        let stays = entry.unpack_in(target)?;
        if !stays {
            bail!("{} leads out of the folder", path.display());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use tar::Header;
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    #[test]
    fn a_folder_comes_back_as_it_went() {
        let source = tempfile::tempdir().unwrap();
        fs::create_dir(source.path().join("sub")).unwrap();
        fs::write(source.path().join("sub/a"), "content").unwrap();
        fs::set_permissions(
            source.path().join("sub/a"),
            fs::Permissions::from_mode(0o750),
        )
        .unwrap();
        symlink("sub/a", source.path().join("link")).unwrap();
        let mut archive = pack(source.path(), "name").unwrap();
        archive.rewind().unwrap();
        let target = tempfile::tempdir().unwrap();
        unpack(archive, target.path(), u64::MAX).unwrap();
        let back = target.path().join("name");
        assert_eq!(fs::read_to_string(back.join("link")).unwrap(), "content");
        assert!(back.join("link").is_symlink());
        let mode = fs::metadata(back.join("sub/a"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o750);
    }

    /// An archive of one entry, or of a link and a file behind it.
    fn hostile(add: impl FnOnce(&mut Builder<Vec<u8>>)) -> Vec<u8> {
        let mut archive = Builder::new(Vec::new());
        add(&mut archive);
        archive.into_inner().unwrap()
    }

    fn entry(kind: EntryType, name: &str, link: Option<&str>, mode: u32) -> Header {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(0);
        header.set_mode(mode);
        // `set_path` would refuse what a guest may write.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        if let Some(link) = link {
            header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        }
        header.set_cksum();
        header
    }

    #[test]
    fn nothing_that_a_guest_packs_leaves_the_folder() {
        let outer = tempfile::tempdir().unwrap();
        let outside = outer.path().join("outside");
        fs::create_dir(&outside).unwrap();
        let try_out = |headers: &[Header]| {
            let target = tempfile::tempdir_in(outer.path()).unwrap();
            let archive = hostile(|archive| {
                for header in headers {
                    archive.append(header, io::empty()).unwrap();
                }
            });
            let unpacked = unpack(archive.as_slice(), target.path(), u64::MAX);
            assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
            unpacked
        };
        let file = |name| entry(EntryType::Regular, name, None, 0o644);
        assert!(try_out(&[file("../outside/x")]).is_err());
        let link = entry(
            EntryType::Symlink,
            "l",
            Some(outside.to_str().unwrap()),
            0o777,
        );
        assert!(try_out(&[link.clone(), file("l/x")]).is_err());
        // A link alone is harmless.
        assert!(try_out(&[link]).is_ok());
        for kind in [
            EntryType::Link,
            EntryType::Char,
            EntryType::Block,
            EntryType::Fifo,
        ] {
            assert!(try_out(&[entry(kind, "x", Some("/etc/passwd"), 0o644)]).is_err());
        }
    }

    /// Finding L20: an archive that never ends stops at the bound, and so does one that grows when it is unpacked.
    #[tokio::test]
    async fn no_more_comes_than_is_let_in() {
        let mut spool = Bounded::new(tempfile::tempfile().unwrap(), 100);
        spool.write_all(&[0; 100]).await.unwrap();
        let refused = spool.write_all(&[0]).await.unwrap_err();
        assert!(refused.to_string().contains("--max-size"), "{refused}");
        let file = spool.into_file().await;
        assert_eq!(file.metadata().unwrap().len(), 100);

        let file = |archive: &mut Builder<Vec<u8>>, name: &str| {
            let mut header = entry(EntryType::Regular, name, None, 0o644);
            header.set_size(60);
            header.set_cksum();
            archive.append(&header, &[0; 60][..]).unwrap();
        };
        let archive = hostile(|archive| {
            file(archive, "a");
            file(archive, "b");
        });
        let target = tempfile::tempdir().unwrap();
        assert!(unpack(archive.as_slice(), target.path(), 119).is_err());
        assert!(!target.path().join("b").exists());
        let target = tempfile::tempdir().unwrap();
        unpack(archive.as_slice(), target.path(), 120).unwrap();
    }

    #[test]
    fn no_file_gets_its_owners_rights() {
        let target = tempfile::tempdir().unwrap();
        let archive = hostile(|archive| {
            let header = entry(EntryType::Regular, "x", None, 0o4777);
            archive.append(&header, io::empty()).unwrap();
        });
        unpack(archive.as_slice(), target.path(), u64::MAX).unwrap();
        let mode = fs::metadata(target.path().join("x"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o7000, 0);
    }

    #[test]
    fn a_file_with_holes_is_packed_as_a_plain_one() {
        let source = tempfile::tempdir().unwrap();
        let file = File::create(source.path().join("disk.img")).unwrap();
        file.set_len(1 << 20).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, b"data", 512 << 10).unwrap();
        let mut archive = pack(source.path(), "name").unwrap();
        archive.rewind().unwrap();
        let mut archive = Archive::new(archive);
        let kinds: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                (entry.header().entry_type(), entry.size())
            })
            .collect();
        assert_eq!(
            kinds,
            [(EntryType::Directory, 0), (EntryType::Regular, 1 << 20)]
        );
    }

    #[test]
    fn a_slash_means_under_it() {
        let source = Path::new("/home/me/project");
        let pair = |parent: &str, name: &str| (parent.to_owned(), name.to_owned());
        assert_eq!(
            destination(source, "/srv/app").unwrap(),
            pair("/srv", "app")
        );
        assert_eq!(
            destination(source, "/srv/").unwrap(),
            pair("/srv", "project")
        );
        assert_eq!(destination(source, "/").unwrap(), pair("/", "project"));
        assert_eq!(destination(source, "/app").unwrap(), pair("/", "app"));
        assert!(destination(source, "/srv/..").is_err());
    }
}
