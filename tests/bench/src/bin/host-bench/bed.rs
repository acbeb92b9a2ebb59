//! One node with its sleepers.

use std::collections::BTreeSet;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use hearth_bench::{Samples, Sleepers, options};
use hearth_node::{MachineName, Node, NodeOptions, Purpose};
use tempfile::TempDir;
use tokio::task::spawn_blocking;

use crate::arguments::Arguments;
use crate::stretch::Stretches;

/// A node with suspended microVMs.
pub(crate) struct Bed {
    sleepers: usize,
    /// Those that nothing was done with yet.
    fresh: Vec<MachineName>,
    options: NodeOptions,
    node: Node,
    _directory: TempDir,
}

impl Bed {
    pub(crate) async fn make(sleepers: usize, arguments: &Arguments) -> Result<Self> {
        let directory = match &arguments.directory {
            Some(directory) => TempDir::new_in(directory),
            None => TempDir::new(),
        };
        let directory = directory.context("cannot make a data directory")?;
        let data = directory.path().to_owned();
        let made = spawn_blocking(move || Sleepers::make(&data, sleepers)).await??;
        let options = options(directory.path(), &arguments.vmm);
        Ok(Self {
            sleepers,
            fresh: made.names().cloned().collect(),
            node: open(options.clone()).await?,
            options,
            _directory: directory,
        })
    }

    pub(crate) fn sleepers(&self) -> usize {
        self.sleepers
    }

    pub(crate) fn is_used_up(&self) -> bool {
        self.fresh.is_empty()
    }

    /// Starts the node some more times: reading all records, and finishing what a crash may have left.
    pub(crate) async fn start(&mut self, times: usize, samples: &mut Samples) -> Result<()> {
        for _ in 0..times {
            let since = Instant::now();
            self.node = open(self.options.clone()).await?;
            self.node.sweep().await?;
            self.add(samples, "start_ms", since);
        }
        Ok(())
    }

    /// Wakes, suspends and terminates one that is fresh, and takes an inventory.
    pub(crate) async fn measure(
        &mut self,
        stretches: &Stretches,
        samples: &mut Samples,
    ) -> Result<()> {
        let name = self.fresh.pop().context("there is nobody left to wake")?;
        stretches.longest().await;

        let since = Instant::now();
        self.node.resume(&name).await?;
        self.add(samples, "wake_ms", since);
        self.add_longest(samples, "wake", stretches).await;

        let since = Instant::now();
        self.node.suspend(&name).await?;
        self.add(samples, "suspend_ms", since);
        self.add_longest(samples, "suspend", stretches).await;

        let since = Instant::now();
        let counted = inventory(&self.node).await?;
        self.add(samples, "inventory_ms", since);
        self.add_longest(samples, "inventory", stretches).await;
        ensure!(
            counted == self.fresh.len() + 1,
            "an inventory of {counted} microVMs is wrong"
        );

        let since = Instant::now();
        self.node.erase(&name).await?;
        self.add(samples, "terminate_ms", since);
        self.add_longest(samples, "terminate", stretches).await;
        Ok(())
    }

    fn add(&self, samples: &mut Samples, metric: &str, since: Instant) {
        let milliseconds = since.elapsed().as_secs_f64() * 1e3;
        samples.add(metric, "node", &self.parameter(), milliseconds);
    }

    async fn add_longest(&self, samples: &mut Samples, operation: &str, stretches: &Stretches) {
        let milliseconds = stretches.longest().await.as_secs_f64() * 1e3;
        samples.add("blocked_ms", operation, &self.parameter(), milliseconds);
    }

    fn parameter(&self) -> String {
        format!("{} sleepers", self.sleepers)
    }
}

async fn open(options: NodeOptions) -> Result<Node> {
    Ok(spawn_blocking(|| Node::open(options)).await??)
}

/// Reads all instances as the host's inventory does (`hearth-host/src/local/inventory.rs`). Answers how many are
/// suspended.
async fn inventory(node: &Node) -> Result<usize> {
    let node = node.clone();
    spawn_blocking(move || {
        node.damaged()?;
        let mut suspended = BTreeSet::new();
        for snapshot in node.snapshots() {
            if snapshot.record.purpose == Purpose::Suspended {
                suspended.insert(snapshot.record.machine.parse::<MachineName>()?);
            }
        }
        for name in node.names() {
            node.look(&name);
        }
        Ok(suspended.len())
    })
    .await?
}
