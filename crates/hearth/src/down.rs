//! `hearth down`: ends the `hearth up` of a data directory.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hearth_node::{Groups, ProcessRecord};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::cli::service::DownArguments;
use crate::failure::Absent;
use crate::shared::Shared;
use crate::up::UpRecord;
use crate::{client, microvm};

/// Longest time for the stop: requests in flight have ten seconds, the emulated host syncs and powers off.
const LIMIT: Duration = Duration::from_secs(90);

const POLL: Duration = Duration::from_millis(50);

pub(crate) fn run(shared: &Shared, arguments: &DownArguments) -> Result<ExitCode> {
    let Some(process) = UpRecord::running(&shared.data)? else {
        return Err(Absent::NotRunning(shared.data.clone()).into());
    };
    if arguments.all {
        client::run(shared, async |client| {
            let count = microvm::terminate_all(&client).await?;
            eprintln!("terminated {count} microVMs");
            Ok(ExitCode::SUCCESS)
        })
        .context("not every microVM is terminated, so hearth runs on")?;
    }
    stop(process)?;
    if arguments.all {
        leave_host(shared)?;
    }
    eprintln!("hearth is down");
    Ok(ExitCode::SUCCESS)
}

/// Removes the network rules and the address that the service has left on this host.
fn leave_host(shared: &Shared) -> Result<()> {
    Groups::leave(&shared.data);
    tokio::runtime::Runtime::new()?
        .block_on(hearth_net::leave_host())
        .context("rules and address of guests' networks are left on this host")
}

/// Asks the process to end and waits until it has.
fn stop(process: ProcessRecord) -> Result<()> {
    let pid = i32::try_from(process.pid).ok().and_then(Pid::from_raw);
    let pid = pid.context("the record names no process")?;
    // The descriptor stays with the process that has this pid now. Whether that is our process is checked after.
    let descriptor = match pidfd_open(pid, PidfdFlags::empty()) {
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        other => other.context("cannot reach the process")?,
    };
    if !process.is_alive() {
        return Ok(());
    }
    pidfd_send_signal(&descriptor, Signal::TERM).with_context(|| {
        format!(
            "cannot end the process {}; is it another user's?",
            process.pid
        )
    })?;
    let deadline = Instant::now() + LIMIT;
    while process.is_alive() {
        if Instant::now() > deadline {
            bail!("the process {} did not end within {LIMIT:?}", process.pid);
        }
        std::thread::sleep(POLL);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_is_ended_and_awaited() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let process = ProcessRecord::of(child.id()).unwrap();
        let collector = std::thread::spawn(move || child.wait().unwrap());
        stop(process).unwrap();
        assert!(!process.is_alive());
        assert!(!collector.join().unwrap().success());
    }

    #[test]
    fn another_process_with_the_number_is_left_alone() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let mut other = ProcessRecord::of(child.id()).unwrap();
        other.start_ticks += 1;
        stop(other).unwrap();
        assert_eq!(child.try_wait().unwrap(), None);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
