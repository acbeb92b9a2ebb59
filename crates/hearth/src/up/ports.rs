//! Looks whether the ports of a service are free before anything is started: two services with the default ports on one
//! machine would collide at the first of them, minutes later or at the first microVM.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::ops::RangeInclusive;

use crate::config::{Config, PortRange};

/// How many ranges of ports, or single ports, are tried to find some that are free.
const TRIES: u16 = 64;

/// A port of the configuration that another process has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "port {} of {} is in use, perhaps by another `hearth up`; choose another one with {option}{}",
    .address.port(),
    .address.ip(),
    suggestion(.free)
)]
pub(crate) struct PortInUse {
    address: SocketAddr,
    /// The option, and the name in the configuration file.
    option: &'static str,
    /// A value that would do now.
    free: Option<String>,
}

fn suggestion(free: &Option<String>) -> String {
    match free {
        Some(free) => format!(" ({free} is free)"),
        None => String::new(),
    }
}

/// Checks every port that the service listens on.
pub(super) fn check(config: &Config) -> Result<(), PortInUse> {
    check_one(config.listen, "--listen (listen)")?;
    if let Some(metrics) = config.metrics.listen {
        check_one(metrics, "metrics.listen in the configuration")?;
    }
    if let Some(endpoints) = config.endpoints.listen {
        return check_one(endpoints, "--endpoint-listen (endpoints.listen)");
    }
    check_range(&config.endpoints.ports.0)
}

fn check_one(address: SocketAddr, option: &'static str) -> Result<(), PortInUse> {
    if !is_taken(address) {
        return Ok(());
    }
    let others = (1..=TRIES).filter_map(|step| address.port().checked_add(step));
    let mut others = others.map(|port| SocketAddr::new(address.ip(), port));
    Err(PortInUse {
        address,
        option,
        free: others
            .find(|other| !is_taken(*other))
            .map(|other| other.to_string()),
    })
}

fn check_range(ports: &RangeInclusive<u16>) -> Result<(), PortInUse> {
    match first_taken(ports) {
        None => Ok(()),
        Some(address) => Err(PortInUse {
            address,
            option: "--endpoint-ports (endpoints.ports)",
            free: free_range(ports).map(|free| PortRange(free).to_string()),
        }),
    }
}

/// A range of the same length behind this one in which every port is free.
fn free_range(taken: &RangeInclusive<u16>) -> Option<RangeInclusive<u16>> {
    let length = taken.end() - taken.start();
    let mut first = taken.end().checked_add(1)?;
    for _ in 0..TRIES {
        let range = first..=first.checked_add(length)?;
        match first_taken(&range) {
            None => return Some(range),
            Some(address) => first = address.port().checked_add(1)?,
        }
    }
    None
}

fn first_taken(ports: &RangeInclusive<u16>) -> Option<SocketAddr> {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let mut addresses = ports.clone().map(|port| SocketAddr::new(loopback, port));
    addresses.find(|address| is_taken(*address))
}

/// Whether another process listens there. Whatever else is wrong with an address is told when it is used.
fn is_taken(address: SocketAddr) -> bool {
    let bound = TcpListener::bind(address);
    bound.is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A listener on a port with some room behind it.
    fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    #[test]
    fn a_port_that_is_taken_is_named_with_its_option() {
        let (held, address) = listener();
        let mut config = Config {
            listen: address,
            ..Config::default()
        };
        let told = check(&config).unwrap_err().to_string();
        assert!(
            told.contains(&format!("port {} of 127.0.0.1", address.port())),
            "{told}"
        );
        assert!(told.contains("--listen"), "{told}");
        drop(held);

        let (_held, address) = listener();
        config.listen.set_port(0);
        let port = address.port();
        config.endpoints.ports = PortRange(port..=port);
        let refused = check(&config).unwrap_err();
        assert_eq!(refused.address, address);
        assert!(
            refused.to_string().contains("--endpoint-ports"),
            "{refused}"
        );
        if let Some(free) = refused.free {
            let PortRange(free) = free.parse().unwrap();
            assert!(!free.contains(&port));
        }
    }
}
