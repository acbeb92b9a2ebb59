//! Which system calls each kind of thread may make, and in which cases.
//!
//! `build.rs` includes this file and compiles the lists to BPF programs: compiling them at the start of each VMM would
//! take a tenth of the start.

use super::compile::{Condition, OWN_PROCESS, Rules};
use super::requests;

/// Calls that every thread needs: memory, locks, its own start and end, time, I/O on open descriptors.
const ANY: &[i64] = &[
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_close,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_madvise,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_read,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_sigaltstack,
    libc::SYS_write,
    libc::SYS_writev,
];

/// Calls of a disk thread. Its image is open already.
const DISK: &[i64] = &[
    libc::SYS_fallocate,
    libc::SYS_fcntl,
    libc::SYS_fdatasync,
    libc::SYS_fstat,
    libc::SYS_fsync,
    libc::SYS_ftruncate,
    libc::SYS_lseek,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_readv,
    libc::SYS_statx,
];

/// Calls of a vCPU thread: accesses to device registers start and stop queues, and write the serial port's log.
const VCPU: &[i64] = &[
    libc::SYS_epoll_ctl,
    libc::SYS_eventfd2,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_shutdown,
];

/// Calls of the main thread, and of those that seal a snapshot or prefetch pages: files by name, sockets, waiting.
const PROCESS: &[i64] = &[
    libc::SYS_accept4,
    libc::SYS_bind,
    libc::SYS_chmod,
    libc::SYS_connect,
    libc::SYS_copy_file_range,
    libc::SYS_dup,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_wait,
    libc::SYS_fadvise64,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fstatfs,
    libc::SYS_getcwd,
    libc::SYS_getdents64,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_link,
    libc::SYS_linkat,
    libc::SYS_listen,
    libc::SYS_lstat,
    libc::SYS_mkdir,
    libc::SYS_mkdirat,
    libc::SYS_newfstatat,
    libc::SYS_open,
    libc::SYS_openat,
    libc::SYS_readlink,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_rmdir,
    libc::SYS_setsockopt,
    libc::SYS_stat,
    libc::SYS_statfs,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_unlink,
    libc::SYS_unlinkat,
];

/// `SECCOMP_SET_MODE_FILTER`: a filter can only take something away.
const SET_MODE_FILTER: u32 = libc::SECCOMP_SET_MODE_FILTER;

/// `PR_SET_VMA`: names of anonymous memory, which newer C libraries set.
const PR_SET_VMA: u32 = 0x5356_4d41;

/// clone3 takes its flags by pointer, which a filter cannot follow: it "does not exist", and the C library makes its threads
/// with clone.
pub(super) const MISSING: i64 = libc::SYS_clone3;

pub(super) fn process() -> Rules {
    let mut rules = vcpu();
    allow_all(&mut rules, PROCESS);
    rules.insert(libc::SYS_ioctl, equal_to(1, requests::PROCESS));
    // Unix sockets and nothing else.
    rules.insert(libc::SYS_socket, equal_to(0, &[libc::AF_UNIX as u32]));
    // Interrupts vCPUs; an abort of the process raises SIGABRT in its own thread.
    let signals = [libc::SIGRTMIN() as u32, libc::SIGABRT as u32];
    rules.insert(libc::SYS_tgkill, signals_to_itself(&signals));
    rules
}

pub(super) fn vcpu() -> Rules {
    let mut rules = disk();
    allow_all(&mut rules, VCPU);
    rules.insert(libc::SYS_ioctl, equal_to(1, requests::VCPU));
    // Threads only: neither a process nor a namespace can be made.
    let thread = (libc::CLONE_THREAD | libc::CLONE_VM | libc::CLONE_SIGHAND) as u32;
    rules.insert(libc::SYS_clone, masked(0, thread, thread));
    rules.insert(MISSING, Vec::new());
    rules.insert(libc::SYS_seccomp, equal_to(0, &[SET_MODE_FILTER]));
    let own = [
        libc::PR_SET_NAME as u32,
        libc::PR_SET_NO_NEW_PRIVS as u32,
        PR_SET_VMA,
    ];
    rules.insert(libc::SYS_prctl, equal_to(0, &own));
    rules
}

pub(super) fn disk() -> Rules {
    let mut rules = Rules::new();
    allow_all(&mut rules, ANY);
    allow_all(&mut rules, DISK);
    // No memory that can be both filled and executed.
    let executable = libc::PROT_EXEC as u32;
    rules.insert(libc::SYS_mmap, masked(2, executable, 0));
    rules.insert(libc::SYS_mprotect, masked(2, executable, 0));
    rules
}

/// Allows these calls whatever their arguments.
fn allow_all(rules: &mut Rules, calls: &[i64]) {
    rules.extend(calls.iter().map(|call| (*call, Vec::new())));
}

fn equal_to(argument: u8, values: &[u32]) -> Vec<Vec<Condition>> {
    let case = |value: &u32| vec![equal(argument, *value)];
    values.iter().map(case).collect()
}

fn masked(argument: u8, mask: u32, value: u32) -> Vec<Vec<Condition>> {
    vec![vec![Condition {
        argument,
        mask,
        value,
    }]]
}

fn equal(argument: u8, value: u32) -> Condition {
    const ALL: u32 = u32::MAX;
    Condition {
        argument,
        mask: ALL,
        value,
    }
}

fn signals_to_itself(signals: &[u32]) -> Vec<Vec<Condition>> {
    let case = |signal: &u32| vec![equal(0, OWN_PROCESS), equal(2, *signal)];
    signals.iter().map(case).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_contain_each_other() {
        let (disk, vcpu, process) = (disk(), vcpu(), process());
        assert!(disk.keys().all(|call| vcpu.contains_key(call)));
        assert!(vcpu.keys().all(|call| process.contains_key(call)));
        // The process's program answers it; that of a vCPU must let it get there.
        assert!(vcpu.contains_key(&MISSING));
    }

    #[test]
    fn no_list_has_a_call_that_reaches_further() {
        let process = process();
        for call in [
            libc::SYS_execve,
            libc::SYS_execveat,
            libc::SYS_ptrace,
            libc::SYS_mount,
            libc::SYS_bpf,
            libc::SYS_userfaultfd,
            libc::SYS_io_uring_setup,
            libc::SYS_kill,
            libc::SYS_process_vm_writev,
            libc::SYS_unshare,
            libc::SYS_setns,
            libc::SYS_keyctl,
        ] {
            assert!(!process.contains_key(&call), "{call}");
        }
    }
}
