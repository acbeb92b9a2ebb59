//! A listening port for each living microVM, where endpoints are ports.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use hearth_control::Control;
use hearth_endpoint::{Doors, Endpoint, EndpointId};
use tokio::sync::watch;

/// How often open and wanted ports are held against each other when nothing has changed: a port that somebody
/// else had is opened once it is free.
const INTERVAL: Duration = Duration::from_secs(30);

/// The open ports, and what says which they should be.
pub(crate) struct Keeper {
    control: Control,
    doors: Doors,
    changes: watch::Receiver<u64>,
}

impl Keeper {
    /// Opens the ports of the microVMs that live already.
    pub(crate) async fn open(control: Control, endpoint: Endpoint, address: IpAddr) -> Self {
        let mut keeper = Self {
            changes: control.microvm_changes(),
            doors: Doors::new(endpoint, address),
            control,
        };
        keeper.reconcile().await;
        keeper
    }

    /// Keeps the ports right until `stop` says so; then closes them and lets requests in flight finish.
    pub(crate) async fn keep(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                changed = self.changes.changed() => if changed.is_err() { break },
                () = tokio::time::sleep(INTERVAL) => {}
                _ = stop.wait_for(|&stop| stop) => break,
            }
            self.reconcile().await;
        }
        self.doors.close().await;
    }

    async fn reconcile(&mut self) {
        self.changes.mark_unchanged();
        let wanted = wanted(&self.control);
        for (port, error) in self.doors.reconcile(&wanted).await {
            tracing::warn!(port, %error, "the endpoint's port cannot be opened; it is tried again");
        }
    }
}

fn wanted(control: &Control) -> HashMap<u16, EndpointId> {
    let living = control.living_microvms().into_iter();
    let port = |microvm: hearth_control::microvm::Microvm| {
        let (_, port) = microvm.terms.endpoint.rsplit_once(':')?;
        Some((port.parse().ok()?, EndpointId(microvm.endpoint_id.uuid())))
    };
    living.filter_map(port).collect()
}
