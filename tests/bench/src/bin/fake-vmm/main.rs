//! A VMM without KVM and without a guest, for tests and benchmarks of what a node does around it.
//!
//! It takes the arguments of `hearth-vmm` and speaks its protocol ([`hearth_wire::vmm`]) on standard input and on its listening
//! socket. What it restores are real snapshots, and what it seals are too; a restored machine changes a few pages of its memory. Its
//! agent has nothing to do. The walls of a sandbox are not put up.
//!
//! A process that nobody ended goes when its directory is gone.

#![forbid(unsafe_code)]

mod agent;
mod control;
mod machine;

use std::ffi::OsString;
use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::control::Vmm;

/// How often it looks whether its directory is still there.
const LOOK: Duration = Duration::from_secs(2);

/// What was typed. All else is of the sandbox.
#[derive(Default)]
struct Arguments {
    listen: PathBuf,
    writable: PathBuf,
    has_slot: bool,
}

fn main() -> Result<()> {
    let arguments = parse(std::env::args_os().skip(1)).context("a flag has no value")?;
    std::env::set_current_dir(&arguments.writable).context("cannot enter its directory")?;
    let listener = UnixListener::bind(&arguments.listen).context("cannot listen")?;
    let mut node = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    if arguments.has_slot {
        // The mark that comes with a slot's descriptors, which are not taken.
        node.read_exact(&mut [0])?;
    }
    let vmm = Arc::new(Vmm::default());
    control::serve_in_thread(node, &vmm);
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            control::serve_in_thread(client, &vmm);
        }
    });
    while Path::new(&arguments.listen).exists() {
        std::thread::sleep(LOOK);
    }
    Ok(())
}

fn parse(mut words: impl Iterator<Item = OsString>) -> Option<Arguments> {
    let mut arguments = Arguments::default();
    while let Some(flag) = words.next() {
        if flag == "--slot" {
            arguments.has_slot = true;
            continue;
        }
        let value = words.next()?;
        match flag.to_str()? {
            "--listen" => arguments.listen = value.into(),
            "--writable" => arguments.writable = value.into(),
            _ => {}
        }
    }
    Some(arguments)
}
