//! The command line.

use std::path::PathBuf;

use clap::Parser;

/// Measures the API.
#[derive(Debug, Parser)]
pub(crate) struct Arguments {
    /// The front over a node without virtual machines: the example `dev_front` of `hearth-front`.
    #[arg(long)]
    pub(crate) front: PathBuf,
    /// How many microVMs are remembered.
    #[arg(long, value_delimiter = ',', default_values_t = [10, 1_000, 10_000])]
    pub(crate) records: Vec<usize>,
    /// Calls of each kind, one after another, whose times are measured.
    #[arg(long, default_value_t = 500)]
    pub(crate) calls: usize,
    /// Where the raw measurements go.
    #[arg(long, default_value = "bench-api.csv")]
    pub(crate) csv: PathBuf,
    /// Where the summary goes, as JSON.
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
}
