//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use crate::attacks::Attack;

/// Measures an account beside one that attacks.
#[derive(Debug, Parser)]
pub(crate) struct Arguments {
    /// The front over a node without virtual machines: the example `dev_front` of `hearth-front`.
    #[arg(long)]
    pub(crate) front: PathBuf,
    /// Turns of each attack.
    #[arg(long, default_value_t = 3)]
    pub(crate) rounds: u32,
    /// How long is measured in each turn.
    #[arg(long, default_value_t = 10)]
    pub(crate) seconds: u64,
    /// Turns of measured calls in a second; each has a launch, which an account may do five times a second.
    #[arg(long, default_value_t = 3.0)]
    pub(crate) rate: f64,
    /// Which attacks; idle is what the others are compared with.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Attack::ALL)]
    pub(crate) attacks: Vec<Attack>,
    /// Where the raw measurements go.
    #[arg(long, default_value = "bench-neighbour.csv")]
    pub(crate) csv: PathBuf,
    /// Where the summary goes, as JSON.
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
}

impl Arguments {
    pub(crate) fn pause(&self) -> Duration {
        Duration::from_secs_f64(1.0 / self.rate.max(0.1))
    }
}
