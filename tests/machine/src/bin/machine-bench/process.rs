//! Processes of other monitors: reached, waited for, ended.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::net::UnixStream;
use tokio::process::Child;

/// Pause between two attempts to reach a socket.
const PAUSE: Duration = Duration::from_micros(500);
/// What the kernel says last before its init runs.
const BOOTED: &str = "Run /init as init process";
/// Init itself takes a moment more; a guest that is idle is what ours is snapshotted as.
const SETTLE: Duration = Duration::from_secs(10);

/// Ends a process and waits until it is gone.
pub(crate) async fn end(child: &mut Child) -> Result<()> {
    child.kill().await.context("end the process")
}

/// Connects to the API socket of a process that was just started.
pub(crate) async fn connect(socket: &Path) -> Result<UnixStream> {
    let start = Instant::now();
    loop {
        match UnixStream::connect(socket).await {
            Ok(stream) => return Ok(stream),
            Err(error) if start.elapsed() > Duration::from_secs(10) => {
                return Err(error).with_context(|| format!("nobody opens {}", socket.display()));
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// Waits until the guest whose console goes to `console` has booted and come to rest.
pub(crate) async fn wait_until_idle(console: &Path) -> Result<()> {
    let start = Instant::now();
    while !String::from_utf8_lossy(&fs::read(console)?).contains(BOOTED) {
        if start.elapsed() > Duration::from_secs(120) {
            let said = fs::read(console)?;
            bail!("the guest did not boot: {}", String::from_utf8_lossy(&said));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::time::sleep(SETTLE).await;
    Ok(())
}
