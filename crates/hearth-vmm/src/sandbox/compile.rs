//! Compiles lists of system calls to classic BPF programs for seccomp(2), when this crate is built.
//!
//! A program finds the call by bisection. The kernel runs each program once for every system call number when it takes it (to
//! remember what is always allowed), so a program that compares with one number after the other costs every microVM's start
//! the more the longer it is; this one comes to its answer in some ten steps.
//!
//! ```text
//! architecture? -> number -> >= pivot? ... -> == call? -> [argument & mask == value? ...]... -> allow
//!                                                 else -> kill the process
//! ```

use std::collections::BTreeMap;

/// The architecture word of x86_64 (`AUDIT_ARCH_X86_64`).
const ARCHITECTURE: u32 = 0xc000_003e;

// Offsets in `struct seccomp_data`.
const NUMBER_OFFSET: u32 = 0;
const ARCHITECTURE_OFFSET: u32 = 4;
const ARGUMENTS_OFFSET: u32 = 16;
const ARGUMENT_BYTES: u32 = 8;

// Instructions (linux/bpf_common.h).
const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const KILL_PROCESS: u32 = libc::SECCOMP_RET_KILL_PROCESS;
const NO_SUCH_CALL: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

/// A condition under which a call is allowed: the masked lower half of an argument equals a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) argument: u8,
    pub(super) mask: u32,
    pub(super) value: u32,
}

/// System calls, each with the cases in which it is allowed. A case is a list of conditions that must all hold. A call
/// without cases is always allowed.
pub(super) type Rules = BTreeMap<i64, Vec<Vec<Condition>>>;

/// Placeholder in a condition for the pid of the process that applies the program. No mask and no pid has this value.
pub(super) const OWN_PROCESS: u32 = 0xdead_9105;

/// Compiles a program that allows these calls and ends the process at any other. The call `missing` fails with ENOSYS
/// instead.
pub(super) fn allow_only(rules: &Rules, missing: Option<i64>) -> Vec<libc::sock_filter> {
    let mut program = vec![
        statement(LOAD, ARCHITECTURE_OFFSET),
        jump(JUMP_IF_EQUAL, ARCHITECTURE, 1, 0),
        statement(RETURN, KILL_PROCESS),
        statement(LOAD, NUMBER_OFFSET),
    ];
    let mut rules = rules.clone();
    if let Some(missing) = missing {
        rules.insert(missing, Vec::new());
    }
    let rules: Vec<_> = rules.iter().collect();
    program.extend(bisect(&rules, missing));
    program
}

type Entry<'a> = (&'a i64, &'a Vec<Vec<Condition>>);

/// The part of a program that decides among these calls. It expects the call's number in the accumulator.
fn bisect(rules: &[Entry<'_>], missing: Option<i64>) -> Vec<libc::sock_filter> {
    match rules {
        [] => vec![statement(RETURN, KILL_PROCESS)],
        [(number, cases)] => {
            let mut leaf = vec![
                // Numbers of system calls are small.
                jump(JUMP_IF_EQUAL, **number as u32, 1, 0),
                statement(RETURN, KILL_PROCESS),
            ];
            leaf.extend(match missing {
                Some(missing) if missing == **number => vec![statement(RETURN, NO_SUCH_CALL)],
                _ => judge(cases),
            });
            leaf
        }
        _ => {
            let (low, high) = rules.split_at(rules.len() / 2);
            let (pivot, _) = high[0];
            let below = bisect(low, missing);
            let mut branch = vec![
                jump(JUMP_IF_AT_LEAST, *pivot as u32, 0, 1),
                statement(JUMP, below.len() as u32),
            ];
            branch.extend(below);
            branch.extend(bisect(high, missing));
            branch
        }
    }
}

/// The part of a program that allows a call if one of the cases holds.
fn judge(cases: &[Vec<Condition>]) -> Vec<libc::sock_filter> {
    let mut program = Vec::new();
    for case in cases {
        let steps = case.len() * 3;
        for (index, condition) in case.iter().enumerate() {
            let offset = ARGUMENTS_OFFSET + u32::from(condition.argument) * ARGUMENT_BYTES;
            // What is left of this case behind the comparison, and the return of its success. A case is short.
            let rest = (steps - (index + 1) * 3 + 1) as u8;
            program.extend([
                statement(LOAD, offset),
                statement(AND, condition.mask),
                jump(JUMP_IF_EQUAL, condition.value, 0, rest),
            ]);
        }
        program.push(statement(RETURN, ALLOW));
    }
    let otherwise = if cases.is_empty() {
        ALLOW
    } else {
        KILL_PROCESS
    };
    program.push(statement(RETURN, otherwise));
    program
}

const fn statement(code: u16, k: u32) -> libc::sock_filter {
    libc::sock_filter {
        code,
        jt: 0,
        jf: 0,
        k,
    }
}

const fn jump(code: u16, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter { code, jt, jf, k }
}

#[cfg(test)]
#[path = "compile/tests.rs"]
mod tests;
