//! The log of a VMM: it writes to a pipe, which the node copies to the bounded file `vmm.log`.
//!
//! A correct VMM writes a few lines: its start, its end, faults of drivers. A VMM that was taken over by its guest may
//! write anything, as fast as it can, and must not fill the host's disk. So it has no descriptor of the file. The pipe
//! is closed with the node that started the VMM: messages of a VMM that outlives its node are lost.

use std::fs::File;
use std::io::{self, PipeWriter, Read as _, Seek as _, SeekFrom};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe::Receiver;
use tokio::task::JoinHandle;
use tokio::time;

/// Longest log of one VMM in bytes. The 32 device faults after which it ends are some 8 KiB.
const LOG_BYTES: usize = 64 << 10;

/// Written at the end of a log that became too long.
const CUT: &[u8] = b"\n[hearth: its VMM said more, which is not kept]\n";

/// Bytes at the end of a log that [`last_words`] answers.
const LAST_BYTES: u64 = 2048;

/// How long to wait until the last messages of an ended VMM are written.
const WRITTEN_LIMIT: Duration = Duration::from_secs(1);

/// A log that is being written.
#[derive(Debug)]
pub(crate) struct VmmLog(JoinHandle<()>);

impl VmmLog {
    /// Waits until all messages of an ended VMM are written.
    pub(crate) async fn written(self) {
        // The VMM cannot have left its end of the pipe to anybody. If it has, nobody waits for that.
        let _ = time::timeout(WRITTEN_LIMIT, self.0).await;
    }
}

/// Creates a pipe whose output is copied to `file`. Answers the end for the VMM.
pub(crate) fn begin(file: File) -> io::Result<(OwnedFd, VmmLog)> {
    let (ours, theirs): (_, PipeWriter) = io::pipe()?;
    let ours = Receiver::from_owned_fd(OwnedFd::from(ours))?;
    let task = tokio::spawn(copy(ours, tokio::fs::File::from_std(file)));
    Ok((OwnedFd::from(theirs), VmmLog(task)))
}

/// Copies up to [`LOG_BYTES`], then reads on and drops the data, so that the VMM never blocks on its log.
async fn copy(mut from: Receiver, mut to: tokio::fs::File) {
    let (mut room, mut is_cut) = (LOG_BYTES, false);
    let mut piece = vec![0; 4096];
    loop {
        let count = match from.read(&mut piece).await {
            Ok(0) | Err(_) => return,
            Ok(count) => count,
        };
        let kept = count.min(room);
        room -= kept;
        // On a full disk, what does not fit is lost.
        let _ = to.write_all(&piece[..kept]).await;
        if kept < count && !is_cut {
            is_cut = true;
            let _ = to.write_all(CUT).await;
        }
        let _ = to.flush().await;
    }
}

/// The end of the log in an instance's directory, as one line without control characters, if there is a log.
pub(crate) fn last_words(path: &Path) -> Option<String> {
    let mut file = hearth_snapshot::plain::open(path).ok()?;
    let bytes = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(bytes.saturating_sub(LAST_BYTES)))
        .ok()?;
    let mut text = Vec::new();
    file.take(LAST_BYTES).read_to_end(&mut text).ok()?;
    let text = String::from_utf8_lossy(&text);
    let text = text.trim();
    (!text.is_empty()).then(|| text.escape_debug().to_string())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    async fn said(words: Vec<u8>) -> (tempfile::TempDir, Vec<u8>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("vmm.log");
        let (pipe, log) = begin(File::create(&path).unwrap()).unwrap();
        let say = tokio::task::spawn_blocking(move || File::from(pipe).write_all(&words));
        say.await.unwrap().unwrap();
        log.written().await;
        let written = std::fs::read(&path).unwrap();
        (directory, written)
    }

    /// Finding L4: it used to be the file itself that the VMM wrote.
    #[tokio::test]
    async fn a_vmm_that_says_too_much_is_cut_short_and_goes_on() {
        let (_directory, written) = said(vec![b'x'; 1 << 20]).await;
        assert_eq!(written.len(), LOG_BYTES + CUT.len());
        assert!(written.ends_with(CUT));
    }

    #[tokio::test]
    async fn last_words_are_one_line_that_no_terminal_obeys() {
        let (directory, written) =
            said(b"begins\nfake: INFO all is well\n\x1b[2J\xff\n".to_vec()).await;
        assert!(written.starts_with(b"begins\n"));
        let path = directory.path().join("vmm.log");
        let told = last_words(&path).unwrap();
        assert_eq!(told, "begins\\nfake: INFO all is well\\n\\u{1b}[2J\u{fffd}");
        std::fs::write(&path, vec![b'y'; 1 << 20]).unwrap();
        assert_eq!(last_words(&path).unwrap().len(), LAST_BYTES as usize);
        std::fs::write(&path, "\n").unwrap();
        assert_eq!(last_words(&path), None);
    }
}
