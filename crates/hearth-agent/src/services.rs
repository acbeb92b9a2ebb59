//! Services of the host at addresses in the guest: S3 and instance metadata, with or without a network card.
//!
//! ```text
//! the guest's network            a network of the agent's own          host
//!  hearth0 169.254.170.1  <veth>  services 169.254.170.8, :80    --vsock--> SERVICE_PORT
//!  169.254.169.254 via .170.8              169.254.169.254, :80
//!                                          169.254.170.9, :80
//! ```
//!
//! The addresses are not on `lo`: a listener on port 80 of one address keeps others from listening on port 80 of all
//! addresses (ip(7)), which many applications do. In a network namespace of its own there is no conflict. The namespace
//! has no process; the listeners' sockets keep it alive.
//!
//! The agent does not interpret the bytes, and holds no secret. While a guest is being restored, or the host's service
//! is being restarted, nobody listens on the vsock port for a moment: connections then wait.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use hearth_wire::service::{SERVICE_PORT, SERVICE_VERSION, Service, ServiceOpen};
use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, UnshareFlags};
use tokio::time::{Instant, sleep, timeout_at};

use crate::agent::Agent;
use crate::channel::Channel;
use crate::fault::{Fault, Step};
use crate::listener::{self, Listener};
use crate::sys::{interface, process, veth, vsock};
use crate::{boot, proxy};

/// Name of the guest's end of the link.
const OUTER: &str = "hearth0";
/// Name of the agent's end of the link.
const INNER: &str = "services";

/// Address of the guest's end of the link.
const OUTER_ADDRESS: Ipv4Addr = Ipv4Addr::new(169, 254, 170, 1);
const NETMASK: Ipv4Addr = Ipv4Addr::new(255, 255, 255, 0);

/// TCP port of the services: HTTP's default.
const PORT: u16 = 80;

/// How long a connection waits for a host that does not listen: longer than a restart of the service takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Pause before the next attempt to connect to the host.
const PAUSE: Duration = Duration::from_millis(50);

/// The listeners of the services, created before there is an event loop.
pub(crate) struct Services(Vec<(Service, OwnedFd)>);

impl Services {
    /// Creates the addresses and listeners. Best effort: on failure the reason is printed on the console, and the guest
    /// runs without services.
    pub(crate) fn open() -> Self {
        Self(make().unwrap_or_else(|fault| {
            boot::report("the host's services have no addresses", &fault);
            Vec::new()
        }))
    }

    /// Serves connections for the lifetime of the machine.
    pub(crate) fn serve(self, agent: &Rc<Agent>) -> Result<(), Fault> {
        for (service, socket) in self.0 {
            let listener = Listener::over(socket).step("watch the services")?;
            tokio::task::spawn_local(accept(Rc::clone(agent), service, listener));
        }
        Ok(())
    }
}

/// Passes connections to this port of the loopback on to the Runtime API.
pub(crate) fn serve_runtime_api(agent: &Rc<Agent>, port: u16) -> Result<(), Fault> {
    let address = Ipv4Addr::from(Service::RuntimeApi.address());
    let socket = listener::tcp_socket(SocketAddrV4::new(address, port));
    let listener = Listener::over(socket.step("listen for the runtime")?);
    let listener = listener.step("watch the Runtime API")?;
    tokio::task::spawn_local(accept(Rc::clone(agent), Service::RuntimeApi, listener));
    Ok(())
}

fn make() -> Result<Vec<(Service, OwnedFd)>, Fault> {
    let guest = OwnedFd::from(File::open("/proc/self/ns/net").step("open the network")?);
    process::unshare(UnshareFlags::NEWNET).step("make a network")?;
    let listeners = furnish(&guest);
    // Whatever became of it, the agent belongs into the guest's network.
    rustix::thread::move_into_link_name_space(guest.as_fd(), Some(LinkNameSpaceType::Network))
        .step("return to the network")?;
    let listeners = listeners?;
    connect_guest()?;
    Ok(listeners)
}

/// Creates the link, the addresses and the listeners, in the new network namespace.
fn furnish(guest: &OwnedFd) -> Result<Vec<(Service, OwnedFd)>, Fault> {
    veth::make(INNER, OUTER, guest).step("make a link")?;
    let control = interface::control_socket().step("open a socket for interfaces")?;
    let mut listeners = Vec::new();
    for (index, service) in Service::ADDRESSED.into_iter().enumerate() {
        let address = Ipv4Addr::from(service.address());
        // Further addresses have names of their own, as they had in Linux 2.0.
        let (name, netmask) = match index {
            0 => (INNER.to_owned(), NETMASK),
            _ => (format!("{INNER}:{index}"), Ipv4Addr::BROADCAST),
        };
        interface::set_address(&control, &name, address, netmask).step("set an address")?;
        let socket = listener::tcp_socket(SocketAddrV4::new(address, PORT));
        listeners.push((service, socket.step("listen for the application")?));
    }
    interface::bring_up(&control, INNER).step("bring the link up")?;
    Ok(listeners)
}

/// Configures the guest's end of the link, and the route to the address outside its subnet, in the guest's network
/// namespace.
fn connect_guest() -> Result<(), Fault> {
    let control = interface::control_socket().step("open a socket for interfaces")?;
    interface::set_address(&control, OUTER, OUTER_ADDRESS, NETMASK).step("set an address")?;
    interface::bring_up(&control, OUTER).step("bring the link up")?;
    let [aws, metadata] =
        [Service::Aws, Service::Metadata].map(|service| Ipv4Addr::from(service.address()));
    interface::add_route(&control, metadata, Ipv4Addr::BROADCAST, aws).step("add a route")
}

async fn accept(agent: Rc<Agent>, service: Service, listener: Listener) {
    loop {
        let connection = listener.accept().await;
        let agent = Rc::clone(&agent);
        tokio::task::spawn_local(async move {
            let Ok(_slot) = agent.slots.service.take() else {
                return;
            };
            // A stream that breaks concerns only the application, which sees it break.
            let _ = pass_on(service, connection).await;
        });
    }
}

async fn pass_on(service: Service, connection: OwnedFd) -> Result<(), Fault> {
    let application = Channel::new(connection).step("watch a connection")?;
    let host = reach_host().await?;
    let open = ServiceOpen {
        version: SERVICE_VERSION,
        service,
    };
    let opened = host.send(&open).await;
    let passed = match opened {
        Ok(()) => proxy::pump_both(&application, &host).await,
        failed => failed,
    };
    // What broke is told by closing both.
    passed.map_err(|_| Fault::new("pass a stream on", Errno::PIPE))
}

async fn reach_host() -> Result<Channel, Fault> {
    let step = || "connect to the host";
    let deadline = Instant::now() + PATIENCE;
    loop {
        let socket = vsock::connect(vsock::HOST_CID, SERVICE_PORT).step(step())?;
        let host = Channel::new(socket).step(step())?;
        match timeout_at(deadline, host.connected()).await {
            Ok(Ok(())) => return Ok(host),
            Ok(Err(error)) if Instant::now() > deadline => return Err(error).step(step()),
            Ok(Err(_)) => sleep(PAUSE).await,
            Err(_) => return Err(Fault::new(step(), Errno::TIMEDOUT)),
        }
    }
}
