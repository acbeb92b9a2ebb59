//! `hearth-vmm`: the process of one microVM, started by a node.
//!
//! It is a program of its own, and not a command of `hearth`, because every microVM pays for it: what is not
//! in it is not mapped, not relocated at its start, and not there for a guest that breaks out.

use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;

use hearth_vmm::VmmOptions;

/// Serves the node whose end of a socket pair is our standard input, and later ones on the listening socket.
fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [flag, listen] = arguments.as_slice() else {
        return usage();
    };
    if flag != "--listen" {
        return usage();
    }
    let connection = match io::stdin().as_fd().try_clone_to_owned() {
        Ok(connection) => connection,
        Err(error) => {
            eprintln!("hearth-vmm: cannot use standard input as control socket: {error}");
            return ExitCode::FAILURE;
        }
    };
    hearth_vmm::run(VmmOptions {
        listen: Some(PathBuf::from(listen)),
        connection: Some(connection),
    })
}

fn usage() -> ExitCode {
    eprintln!(
        "hearth-vmm runs one microVM for a node: hearth-vmm --listen SOCKET, with a connected socket as standard \
         input. To start one by hand use `hearth machine boot`."
    );
    ExitCode::FAILURE
}
