//! What the measurements say: each call beside itself without an attack.

use hearth_bench::{Samples, percentile};

use crate::attacks::Attack;
use crate::victim::OPERATIONS;

/// Metrics.
pub(crate) const CALL: &str = "call_ms";
pub(crate) const FAILED: &str = "failed";
pub(crate) const MEMORY: &str = "front_mib";

/// The subject of the most memory that was taken.
pub(crate) const MOST: &str = "most";

/// The aim: a neighbour's 95th percentile stays within so many times its idle one.
const AIM: f64 = 2.0;

/// The share of calls that the aim is about.
const SHARE: f64 = 0.95;

/// Prints a line for each call under each attack, and what the front took of memory.
pub(crate) fn print(samples: &Samples, attacks: &[Attack]) {
    println!();
    println!(
        "{:14} {:12} {:>10} {:>8} {:>12}   FRONT, MOST MIB",
        "ATTACK", "CALL", "P95 MS", "TO IDLE", "FAILED"
    );
    for attack in attacks {
        for operation in OPERATIONS {
            let of =
                |attack: &Attack| percentile(samples.values(CALL, operation, attack.name()), SHARE);
            let (p95, idle) = (of(attack), of(&Attack::Idle));
            let failures = samples.values(FAILED, operation, attack.name());
            let failed = failures.iter().sum::<f64>();
            let memory = samples.values(MEMORY, MOST, attack.name());
            let most = memory.iter().copied().fold(0.0, f64::max);
            let holds = p95 <= AIM * idle && failed == 0.0;
            println!(
                "{:14} {operation:12} {p95:10.2} {:8.2} {:>12}   {most:.0}{}",
                attack.name(),
                p95 / idle,
                format!("{failed} of {}", failures.len()),
                if holds { "" } else { "   beyond the aim" }
            );
        }
    }
}
