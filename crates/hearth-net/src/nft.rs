//! Applies rules with the program `nft`.

use std::io::{self, Write};
use std::process::{Command, Stdio};

/// The path of the program, as Debian's package `nftables` installs it.
pub const PROGRAM: &str = "/usr/sbin/nft";

/// Applies a text of rules atomically, in the namespace of the calling thread.
pub(crate) fn apply(text: &str) -> io::Result<()> {
    let mut child = Command::new(PROGRAM)
        .args(["-f", "-"])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(text.as_bytes())?;
    }
    let ended = child.wait_with_output()?;
    if ended.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&ended.stderr);
    let said = said.lines().next().unwrap_or("no reason given");
    Err(io::Error::other(format!("nft refused the rules: {said}")))
}
