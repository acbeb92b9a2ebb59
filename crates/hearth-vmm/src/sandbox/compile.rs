//! Lists of system calls as programs of the kernel's classic BPF (seccomp(2)): compiled when this crate is built.
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

/// What must be so for a call to be allowed: the lower half of an argument, under a mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) argument: u8,
    pub(super) mask: u32,
    pub(super) value: u32,
}

/// Calls, and for each the cases in which it is allowed; a case is a number of conditions. Without a case it always is.
pub(super) type Rules = BTreeMap<i64, Vec<Vec<Condition>>>;

/// Stands in a condition for the number of the process that applies the program. It is no mask and no number of a process.
pub(super) const OWN_PROCESS: u32 = 0xdead_9105;

/// Allows these calls; any other ends the process, but for one that is answered as if the kernel did not have it.
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

/// The part that decides among these calls; the number is in the accumulator.
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

/// Whether one of the cases holds.
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
mod tests {
    use super::*;

    /// Runs a program as the kernel would; answers the result and the number of steps.
    fn run(
        program: &[libc::sock_filter],
        architecture: u32,
        number: u32,
        arguments: [u64; 6],
    ) -> (u32, usize) {
        let mut data = Vec::new();
        data.extend(number.to_ne_bytes());
        data.extend(architecture.to_ne_bytes());
        data.extend(0_u64.to_ne_bytes());
        data.extend(arguments.iter().flat_map(|argument| argument.to_ne_bytes()));
        let (mut accumulator, mut at, mut steps) = (0_u32, 0, 0);
        loop {
            let instruction = program[at];
            let k = instruction.k;
            at += 1;
            steps += 1;
            let branch = |taken| {
                usize::from(if taken {
                    instruction.jt
                } else {
                    instruction.jf
                })
            };
            match instruction.code {
                LOAD => {
                    let word = &data[k as usize..k as usize + 4];
                    accumulator = u32::from_ne_bytes(word.try_into().unwrap());
                }
                AND => accumulator &= k,
                JUMP => at += k as usize,
                JUMP_IF_EQUAL => at += branch(accumulator == k),
                JUMP_IF_AT_LEAST => at += branch(accumulator >= k),
                RETURN => return (k, steps),
                code => panic!("instruction {code:#x}"),
            }
        }
    }

    fn condition(argument: u8, mask: u32, value: u32) -> Condition {
        Condition {
            argument,
            mask,
            value,
        }
    }

    fn is_allowed(rules: &Rules, number: i64, arguments: [u64; 6]) -> bool {
        let holds = |condition: &Condition| {
            let argument = arguments[usize::from(condition.argument)] as u32;
            argument & condition.mask == condition.value
        };
        rules.get(&number).is_some_and(|cases| {
            cases.is_empty() || cases.iter().any(|case| case.iter().all(holds))
        })
    }

    #[test]
    fn a_program_says_what_its_rules_say() {
        let conditional = vec![
            vec![condition(1, !0, 5)],
            vec![condition(0, 0xf0, 0x10), condition(2, !0, 7)],
        ];
        let mut rules = Rules::new();
        for count in 0..40 {
            let program = allow_only(&rules, None);
            for number in -1..140_i64 {
                for arguments in [
                    [0; 6],
                    [0, 5, 0, 0, 0, 0],
                    [0x11f, 0, 7, 0, 0, 0],
                    [0x11f, 0, 8, 0, 0, 0],
                    [0, 5 | (1 << 40), 0, 0, 0, 0],
                ] {
                    let (result, steps) = run(&program, ARCHITECTURE, number as u32, arguments);
                    let expected = is_allowed(&rules, number, arguments);
                    assert_eq!(result == ALLOW, expected, "{count} {number} {arguments:x?}");
                    assert!(result == ALLOW || result == KILL_PROCESS);
                    assert!(steps < 32, "{steps} steps");
                }
            }
            let cases = if count % 3 == 0 {
                conditional.clone()
            } else {
                Vec::new()
            };
            rules.insert((count * 37) % 131, cases);
        }
        let (result, _) = run(&allow_only(&rules, None), 0x4000_0003, 0, [0; 6]);
        assert_eq!(
            result, KILL_PROCESS,
            "the calls of 32 bits have other numbers"
        );
        let (result, _) = run(&allow_only(&rules, None), ARCHITECTURE, 0x4000_0000, [0; 6]);
        assert_eq!(result, KILL_PROCESS, "and so have those of x32");
    }

    #[test]
    fn one_call_can_be_missing() {
        let rules = Rules::from([(libc::SYS_read, Vec::new())]);
        let program = allow_only(&rules, Some(libc::SYS_clone3));
        let result = |call: i64| run(&program, ARCHITECTURE, call as u32, [0; 6]).0;
        assert_eq!(result(libc::SYS_clone3), NO_SUCH_CALL);
        assert_eq!(result(libc::SYS_read), ALLOW);
        assert_eq!(result(libc::SYS_write), KILL_PROCESS);
    }
}
