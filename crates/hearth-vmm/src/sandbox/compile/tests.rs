use std::collections::{BTreeMap, BTreeSet};

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use super::super::lists;
use super::*;

/// Numbers of system calls of x86_64 end before 512 today; the next thousand must be refused as well.
const NUMBERS: std::ops::Range<i64> = -1..1500;

/// An instruction that our programs do not have (linux/bpf_common.h).
const JUMP_IF_ABOVE: u16 = 0x25;

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
            JUMP_IF_ABOVE => at += branch(accumulator > k),
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
    rules
        .get(&number)
        .is_some_and(|cases| cases.is_empty() || cases.iter().any(|case| case.iter().all(holds)))
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

/// What another compiler makes of the same rules: that of rust-vmm, which Firecracker uses.
fn by_seccompiler(rules: &Rules) -> Vec<libc::sock_filter> {
    let condition = |condition: &Condition| {
        let operator = SeccompCmpOp::MaskedEq(condition.mask.into());
        let length = SeccompCmpArgLen::Dword;
        SeccompCondition::new(condition.argument, length, operator, condition.value.into()).unwrap()
    };
    let rule =
        |case: &Vec<Condition>| SeccompRule::new(case.iter().map(condition).collect()).unwrap();
    let rules: BTreeMap<_, Vec<_>> = rules
        .iter()
        .map(|(call, cases)| (*call, cases.iter().map(rule).collect()))
        .collect();
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::KillProcess,
        SeccompAction::Allow,
        TargetArch::x86_64,
    );
    let program: BpfProgram = filter.unwrap().try_into().unwrap();
    program
        .iter()
        .map(|step| libc::sock_filter {
            code: step.code,
            jt: step.jt,
            jf: step.jf,
            k: step.k,
        })
        .collect()
}

/// Values of one argument that tell rules apart: those that conditions name, each with one bit changed, and some above 32 bits.
fn telling_values(rules: &Rules, argument: u8) -> BTreeSet<u64> {
    let conditions = rules.values().flatten().flatten();
    let named = conditions.filter(|condition| condition.argument == argument);
    let named: BTreeSet<_> = named.map(|condition| u64::from(condition.value)).collect();
    let changed = named
        .iter()
        .flat_map(|value| (0..33).map(move |bit| value ^ (1 << bit)));
    let edges = [0, 1, u64::from(u32::MAX), u64::MAX];
    changed.chain(named.iter().copied()).chain(edges).collect()
}

/// Every call, and of each every combination of two arguments that can matter, is judged by both programs.
#[test]
fn another_compiler_comes_to_the_same_judgement() {
    for (name, rules) in [
        ("process", lists::process()),
        ("vcpu", lists::vcpu()),
        ("disk", lists::disk()),
    ] {
        let ours = allow_only(&rules, None);
        let theirs = by_seccompiler(&rules);
        let mut judged = 0;
        for number in NUMBERS {
            let none = Rules::new();
            let own = rules
                .get(&number)
                .map_or(none, |cases| Rules::from([(number, cases.clone())]));
            let values = [0, 1, 2].map(|argument| telling_values(&own, argument));
            let [first, second, third] = values.each_ref();
            for arguments in first
                .iter()
                .flat_map(|one| second.iter().map(move |two| [*one, *two, 0, 0, 0, 0]))
                .chain(
                    first
                        .iter()
                        .flat_map(|one| third.iter().map(move |three| [*one, 0, *three, 0, 0, 0])),
                )
            {
                let (ours, _) = run(&ours, ARCHITECTURE, number as u32, arguments);
                let (theirs, _) = run(&theirs, ARCHITECTURE, number as u32, arguments);
                assert_eq!(ours, theirs, "{name}: call {number} with {arguments:x?}");
                judged += 1;
            }
        }
        assert!(judged > 10_000, "{name}: {judged}");
        let foreign = |program| run(program, 0x4000_0003, 0, [0; 6]).0;
        assert_eq!(foreign(&ours), foreign(&theirs), "{name}");
    }
}
