//! Starts a program in a PID namespace of its own.

use std::io;

use nix::sched::{CloneFlags, unshare};
use tokio::process::{Child, Command};
use tokio::runtime::Handle;

/// Starts a program as the first process of a PID namespace, in which it sees no other process and can signal none.
pub(crate) fn spawn_apart(command: &mut Command) -> io::Result<Child> {
    let runtime = Handle::current();
    // The namespace is that of the thread's children, and a thread changes it once.
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let _entered = runtime.enter();
            unshare(CloneFlags::CLONE_NEWPID)?;
            command.spawn()
        });
        match thread.join() {
            Ok(spawned) => spawned,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}
