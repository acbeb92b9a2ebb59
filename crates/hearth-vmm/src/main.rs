//! `hearth-vmm`: the process of one microVM, started by a node.
//!
//! It is a program of its own, and not a command of `hearth`, because every microVM pays for its size: code that is not
//! in it is not mapped, not relocated at start, and not available to a guest that breaks out.

use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use hearth_vmm::crash_point;
use hearth_vmm::sandbox::{self, SandboxError, SandboxOptions};
use hearth_vmm::{VmmOptions, error_chain, say};
use hearth_wire::vmm::SLOT_TAP_FD;

/// Whether tests may end this process, delay it, or change its idea of the time. Never in release builds.
const IS_TESTABLE: bool = cfg!(debug_assertions);

/// The command-line arguments.
#[derive(Debug, Default)]
struct Arguments {
    listen: PathBuf,
    has_slot: bool,
    sandbox: SandboxOptions,
}

/// Serves the node at the other end of the socket pair that is our standard input, and later nodes on the listening
/// socket.
fn main() -> ExitCode {
    let Some(mut arguments) = parse(std::env::args_os().skip(1)) else {
        return usage();
    };
    if let Err(error) = confine(&mut arguments) {
        say(format_args!("{}", error_chain(&error)));
        return ExitCode::FAILURE;
    }
    let connection = match io::stdin().as_fd().try_clone_to_owned() {
        Ok(connection) => connection,
        Err(error) => {
            say(format_args!(
                "cannot use standard input as control socket: {error}"
            ));
            return ExitCode::FAILURE;
        }
    };
    hearth_vmm::run(VmmOptions {
        listen: Some(arguments.listen),
        connection: Some(connection),
    })
}

/// Enters the sandbox, with the network of a slot if there is one.
fn confine(arguments: &mut Arguments) -> Result<(), SandboxError> {
    let sandbox = &mut arguments.sandbox;
    if arguments.has_slot {
        sandbox.prepared = Some(sandbox::receive_slot(io::stdin().as_fd())?);
        sandbox.keep.push(SLOT_TAP_FD);
    }
    sandbox::enter(sandbox)
}

/// Parses flags and their values, in any order. `None` if they are malformed.
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
            "--readable" => arguments.sandbox.readable.push(value.into()),
            "--writable" => arguments.sandbox.writable.push(value.into()),
            "--root" => arguments.sandbox.root = Some(value.into()),
            "--user" => arguments.sandbox.user = Some(value.to_str()?.parse().ok()?),
            "--keep" => arguments.sandbox.keep.push(value.to_str()?.parse().ok()?),
            "--crash-point" if IS_TESTABLE => crash_point::crash_at(value.to_str()?.parse().ok()?),
            "--slow-point" if IS_TESTABLE => {
                let (point, time) = crash_point::parse_slow(value.to_str()?)?;
                crash_point::wait_at(point, time);
            }
            "--pretend-asleep" if IS_TESTABLE => hearth_vmm::machine::pretend_asleep(
                Duration::from_secs(value.to_str()?.parse().ok()?),
            ),
            _ => return None,
        }
    }
    (!arguments.listen.as_os_str().is_empty()).then_some(arguments)
}

fn usage() -> ExitCode {
    eprintln!(
        "hearth-vmm runs one microVM for a node: hearth-vmm --listen SOCKET [--readable PATH]... [--writable \
         DIRECTORY]... [--root EMPTY_DIRECTORY] [--user NUMBER] [--keep DESCRIPTOR]... [--slot], with a connected socket as standard input. To start one by hand use \
         `hearth machine boot`."
    );
    ExitCode::FAILURE
}
