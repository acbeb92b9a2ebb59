//! A port for each microVM. Reconciles the open ports with the wanted ones.
//!
//! On every change, and by timer, the service says which ports are wanted. Ports that are open and not wanted are
//! closed, ports that are wanted and not open are opened. No other state is kept.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::endpoint::Endpoint;
use crate::id::EndpointId;
use crate::routing::ListenerRoute;

/// The open ports of microVMs.
#[derive(Debug)]
pub struct MicrovmPorts {
    endpoint: Endpoint,
    address: IpAddr,
    open: HashMap<u16, OpenPort>,
}

#[derive(Debug)]
struct OpenPort {
    leads_to: EndpointId,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl MicrovmPorts {
    /// Opens ports on this address. None is open yet.
    #[must_use]
    pub fn new(endpoint: Endpoint, address: IpAddr) -> Self {
        Self {
            endpoint,
            address,
            open: HashMap::new(),
        }
    }

    /// Opens and closes ports so that the wanted ones are open. Returns those that could not be opened; the next call
    /// retries them.
    pub async fn reconcile(&mut self, wanted: &HashMap<u16, EndpointId>) -> Vec<(u16, io::Error)> {
        let surplus: Vec<u16> = self
            .open
            .iter()
            .filter(|(port, open)| !open.is_wanted(wanted.get(port)))
            .map(|(&port, _)| port)
            .collect();
        for port in surplus {
            if let Some(open) = self.open.remove(&port) {
                // Requests in flight continue. The listener closes as soon as its task sees this.
                let _ = open.stop.send(true);
            }
        }
        let mut failed = Vec::new();
        for (&port, &leads_to) in wanted {
            if self.open.contains_key(&port) {
                continue;
            }
            match TcpListener::bind(SocketAddr::new(self.address, port)).await {
                Ok(listener) => {
                    self.open.insert(port, self.open_port(listener, leads_to));
                }
                Err(error) => failed.push((port, error)),
            }
        }
        failed
    }

    /// Closes all ports and lets requests in flight finish.
    pub async fn close(mut self) {
        let ports: Vec<OpenPort> = self.open.drain().map(|(_, port)| port).collect();
        for port in &ports {
            let _ = port.stop.send(true);
        }
        for port in ports {
            let _ = port.task.await;
        }
    }

    fn open_port(&self, listener: TcpListener, leads_to: EndpointId) -> OpenPort {
        let (stop, stopped) = watch::channel(false);
        let endpoint = self.endpoint.clone();
        let task = tokio::spawn(async move {
            endpoint
                .serve(listener, ListenerRoute::Own(leads_to), stopped)
                .await;
        });
        OpenPort {
            leads_to,
            stop,
            task,
        }
    }
}

impl OpenPort {
    /// A task that has ended by itself is started again.
    fn is_wanted(&self, wanted: Option<&EndpointId>) -> bool {
        wanted == Some(&self.leads_to) && !self.task.is_finished()
    }
}
