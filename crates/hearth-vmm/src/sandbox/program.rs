//! The seccomp programs that were compiled when this crate was built, and how one is applied.

use std::io;

const fn instruction(code: u16, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code, jt, jf, k }
}

// PROCESS, VCPU and DISK.
include!(concat!(env!("OUT_DIR"), "/programs.rs"));

/// Applies a program to the calling thread and to all threads that it starts, for good. Requires `no_new_privs`.
pub(super) fn apply(program: &[libc::sock_filter]) -> io::Result<()> {
    const NO_FLAGS: libc::c_uint = 0;
    let length = u16::try_from(program.len()).map_err(io::Error::other)?;
    let program = libc::sock_fprog {
        len: length,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: the kernel copies the program, which lives until the call returns and is as long as it says.
    let done = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            NO_FLAGS,
            &raw const program,
        )
    };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The program of this process: its pid is filled in.
pub(super) fn of_this_process() -> Vec<libc::sock_filter> {
    let own = std::process::id();
    let mut program = PROCESS.to_vec();
    for instruction in &mut program {
        if instruction.k == OWN_PROCESS {
            instruction.k = own;
        }
    }
    program
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_names_itself_where_it_may_send_signals_and_nowhere_else() {
        let own = of_this_process();
        let changed: Vec<_> = PROCESS
            .iter()
            .zip(&own)
            .filter(|(before, after)| before.k != after.k)
            .collect();
        // One comparison for each of the two signals.
        const JUMP_IF_EQUAL: u16 = 0x15;
        assert_eq!(changed.len(), 2);
        for (before, after) in changed {
            assert_eq!((before.code, after.code), (JUMP_IF_EQUAL, JUMP_IF_EQUAL));
            assert_eq!(after.k, std::process::id());
        }
        assert!(VCPU.iter().chain(DISK).all(|step| step.k != OWN_PROCESS));
    }
}
