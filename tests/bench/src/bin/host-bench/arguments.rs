//! The command line.

use std::path::PathBuf;

use clap::Parser;

/// Measures a node beside many suspended microVMs.
#[derive(Debug, Clone, Parser)]
pub(crate) struct Arguments {
    /// The VMM without a guest: the program `fake-vmm`.
    #[arg(long)]
    pub(crate) vmm: PathBuf,
    /// How many microVMs are suspended.
    #[arg(long, value_delimiter = ',', default_values_t = [10, 100, 1_000, 10_000])]
    pub(crate) sleepers: Vec<usize>,
    /// MicroVMs that are woken, suspended and terminated.
    #[arg(long, default_value_t = 50)]
    pub(crate) rounds: usize,
    /// How often a node is started.
    #[arg(long, default_value_t = 5)]
    pub(crate) starts: usize,
    /// Where the data directories are made, on the disk that is to be measured [default: that for temporary files].
    #[arg(long)]
    pub(crate) directory: Option<PathBuf>,
    /// Where the raw measurements go.
    #[arg(long, default_value = "bench-host.csv")]
    pub(crate) csv: PathBuf,
    /// Where the summary goes, as JSON.
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
}
