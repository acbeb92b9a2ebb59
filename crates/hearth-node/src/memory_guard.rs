//! Decides which VMM the kernel's OOM killer chooses when the host has no memory left.
//!
//! A microVM is guaranteed its baseline, a quarter of the RAM that its guest sees; memory beyond that is overcommitted.
//! Two mechanisms keep the guarantee. Its control group keeps the baseline from being reclaimed (`memory.min`,
//! cgroup.rs). And the OOM killer compares processes by their resident memory plus `oom_score_adj`, in thousandths of
//! the host's memory (proc_pid_oom_score_adj(5)). Each VMM's score is lowered by its baseline, so VMMs are compared by
//! their memory beyond it: the VMM with most overcommitted memory is killed first, and VMMs within their baseline last,
//! however large they are.

use std::fs;

/// Ratio of a guest's RAM to its baseline (`hearth-control/src/image.rs`, `peak_mib()`).
const RAM_PER_BASELINE: u32 = 4;

/// The lowest adjustment with which a VMM can still be killed: with -1000 the kernel would never kill it.
const LEAST_ADJUSTMENT: i64 = -999;

/// The guaranteed memory of a machine with `memory_mib` of RAM, in MiB.
pub(crate) fn baseline_mib(memory_mib: u32) -> u64 {
    u64::from(memory_mib.div_ceil(RAM_PER_BASELINE))
}

/// Lowers a VMM's OOM score by its baseline. Best effort: without the permission, the kernel decides by size.
pub(crate) fn prefer(pid: u32, memory_mib: u32) {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let Some(total_kib) = total_kib(&meminfo) else {
        return;
    };
    let score = adjustment(baseline_mib(memory_mib), total_kib);
    let path = format!("/proc/{pid}/oom_score_adj");
    if let Err(error) = fs::write(&path, score.to_string()) {
        tracing::debug!(%error, path, "cannot set the OOM score of a VMM");
    }
}

/// The adjustment for a baseline: negative, in thousandths of the host's memory.
fn adjustment(baseline_mib: u64, total_kib: u64) -> i64 {
    let thousandths = (baseline_mib << 10).saturating_mul(1000) / total_kib.max(1);
    let lowered = i64::try_from(thousandths).map_or(LEAST_ADJUSTMENT, |part| -part);
    lowered.max(LEAST_ADJUSTMENT)
}

/// Parses `MemTotal` of `/proc/meminfo`, in KiB.
fn total_kib(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim_end_matches("kB").trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As the kernel does (`oom_badness()` in mm/oom_kill.c), in pages.
    fn badness(resident_mib: u64, memory_mib: u32, total_mib: u64) -> i64 {
        let score = adjustment(baseline_mib(memory_mib), total_mib << 10);
        let pages = |mib: u64| (mib << 8) as i64;
        pages(resident_mib) + score * pages(total_mib) / 1000
    }

    /// The host of finding H7: by size alone the victim, within its baseline, would be killed first.
    #[test]
    fn who_is_beyond_the_baseline_goes_before_a_larger_one_within() {
        let total = 16 << 10;
        let victim = badness(6 << 10, 32 << 10, total);
        let attacker = badness(1900, 2048, total);
        assert!(attacker > victim, "{attacker} {victim}");
        assert!(victim < 0);
    }

    #[test]
    fn every_vmm_can_be_killed() {
        assert_eq!(adjustment(1 << 30, 1 << 20), LEAST_ADJUSTMENT);
        assert_eq!(adjustment(u64::MAX >> 10, 1), LEAST_ADJUSTMENT);
        assert_eq!(adjustment(512, 0), LEAST_ADJUSTMENT);
        assert_eq!(adjustment(512, 16 << 20), -31);
        assert_eq!(
            total_kib("MemTotal:       65536000 kB\nMemFree: 1 kB"),
            Some(65_536_000)
        );
        assert_eq!(total_kib(""), None);
    }

    proptest! {
        /// Between any two VMMs it is the excess that decides, up to the thousandth in which the score is counted.
        #[test]
        fn excess_decides(
            first in (1_u32..16, 0_u64..64),
            second in (1_u32..16, 0_u64..64),
            total_gib in 80_u64..1024,
        ) {
            let total = total_gib << 10;
            let of = |(baseline_gib, excess_gib): (u32, u64)| {
                let memory = (baseline_gib * RAM_PER_BASELINE) << 10;
                badness(u64::from(baseline_gib << 10) + (excess_gib << 10), memory, total)
            };
            let step = (total << 8) as i64 / 1000 + 1;
            let difference = ((first.1 as i64) - (second.1 as i64)) << 18;
            prop_assert!((of(first) - of(second) - difference).abs() <= 2 * step);
        }
    }

    /// Also shows that it is set at all: a VMM inherits the service's own, which is to outlive all of them.
    #[test]
    fn the_kernel_takes_it() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let mut child = std::process::Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let path = format!("/proc/{}/oom_score_adj", child.id());
        // In a container that lacks CAP_SYS_RESOURCE nobody lowers a score.
        if fs::write(&path, "-1").is_ok() {
            prefer(child.id(), 1 << 20);
            let total = total_kib(&fs::read_to_string("/proc/meminfo").unwrap()).unwrap();
            let expected = adjustment(baseline_mib(1 << 20), total);
            let score = fs::read_to_string(&path).unwrap();
            assert_eq!(score.trim().parse::<i64>().unwrap(), expected);
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
