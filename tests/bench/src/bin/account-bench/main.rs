//! What one account notices while another one does its worst: `cargo xtask bench neighbour --native`.
//!
//! The front and the control plane are the real ones, over a node without virtual machines, with the rates that the service has. One
//! account launches, reads an object and the end of a log, again and again; the other one attacks, in turns with rests. Every call is a
//! line of the CSV, a failed one too; and so is what an attack got done, as one that did nothing would show nothing, and what the front
//! took of memory. Guests, endpoints, names and the host's network are not here: those rows are of the emulated host
//! (`tests/bench/neighbour.py`).

#![forbid(unsafe_code)]

mod arguments;
mod attacks;
mod front;
mod report;
mod request;
mod victim;

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Parser;
use hearth_bench::Samples;

use crate::arguments::Arguments;
use crate::attacks::{Attack, Attackers};
use crate::front::Front;
use crate::victim::Victim;

/// How long an attack has before anything is measured.
const LEAD: Duration = Duration::from_secs(1);

/// Where the attacker comes from: another address than its victim, as the places of one address are bounded.
const ATTACKER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mut samples = Samples::default();
    for round in 0..arguments.rounds {
        for &attack in &arguments.attacks {
            // A front of its own: what one attack has left behind would be a burden of the next.
            let front = Front::start(&arguments.front)?;
            let victim = Victim::prepare(front.account(0, Ipv4Addr::LOCALHOST)?).await?;
            measure(&victim, &front, attack, &arguments, &mut samples).await?;
            println!(
                "round {} of {}: {}",
                round + 1,
                arguments.rounds,
                attack.name()
            );
        }
    }
    samples.write_csv(&arguments.csv)?;
    samples.print();
    report::print(&samples, &arguments.attacks);
    if let Some(path) = &arguments.json {
        samples.write_json(path)?;
    }
    Ok(())
}

async fn measure(
    victim: &Victim,
    front: &Front,
    attack: Attack,
    arguments: &Arguments,
    samples: &mut Samples,
) -> Result<()> {
    let attacker = front.account(1, ATTACKER)?;
    let attackers = Attackers::start(attack, &attacker).await?;
    tokio::time::sleep(LEAD).await;
    let end = Instant::now() + Duration::from_secs(arguments.seconds);
    while Instant::now() < end {
        for call in victim.round().await {
            let ms = call.took.as_secs_f64() * 1e3;
            samples.add(report::CALL, call.operation, attack.name(), ms);
            let failed = f64::from(u8::from(call.has_failed));
            samples.add(report::FAILED, call.operation, attack.name(), failed);
        }
        tokio::time::sleep(arguments.pause()).await;
    }
    for (part, work) in attackers.stop() {
        // Of all at once some may find that the others have used up what the account may do.
        ensure!(
            work > 0.0 || matches!(attack, Attack::Idle | Attack::All),
            "the attack {} did nothing",
            part.name()
        );
        if part != Attack::Idle {
            samples.add("attack_work", part.name(), attack.name(), work);
        }
    }
    let (now, most) = front.memory_mib()?;
    samples.add("front_mib", "after", attack.name(), now);
    samples.add(report::MEMORY, report::MOST, attack.name(), most);
    Ok(())
}
