//! Opens a listening port for each living microVM, if endpoints are ports.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use hearth_control::Control;
use hearth_endpoint::{Endpoint, EndpointId, MicrovmPorts};
use tokio::sync::watch;

/// How often open and wanted ports are compared when nothing has changed: a port that another process had is
/// opened after it is free.
const INTERVAL: Duration = Duration::from_secs(30);

/// The open ports, and the control plane that knows which ports should be open.
pub(crate) struct EndpointPorts {
    control: Control,
    listeners: MicrovmPorts,
    changes: watch::Receiver<u64>,
}

impl EndpointPorts {
    /// Opens the ports of the microVMs that exist already.
    pub(crate) async fn open(control: Control, endpoint: Endpoint, address: IpAddr) -> Self {
        let mut ports = Self {
            changes: control.microvm_changes(),
            listeners: MicrovmPorts::new(endpoint, address),
            control,
        };
        ports.reconcile().await;
        ports
    }

    /// Opens and closes ports until `stop` is set. Then closes all and lets requests in flight finish.
    pub(crate) async fn keep(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                changed = self.changes.changed() => if changed.is_err() { break },
                () = tokio::time::sleep(INTERVAL) => {}
                _ = stop.wait_for(|&stop| stop) => break,
            }
            self.reconcile().await;
        }
        self.listeners.close().await;
    }

    async fn reconcile(&mut self) {
        self.changes.mark_unchanged();
        let wanted = wanted(&self.control);
        for (port, error) in self.listeners.reconcile(&wanted).await {
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
