//! The agent's settings at boot: its mode, and the addresses of the network card.

use std::fs;
use std::io;
use std::net::Ipv4Addr;

use hearth_wire::host_mode::{HOST_MODE_CONFIG, HostModeConfig, HostModeConfigError};

/// Key of the card's network on the kernel's command line: `hearth.net=ADDRESS/PREFIX[,GATEWAY[,NAMESERVER]]`.
const NETWORK_KEY: &str = "hearth.net=";

/// Why the agent's mode cannot be determined.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    /// The settings of the host mode exist but cannot be read.
    #[error("cannot read {HOST_MODE_CONFIG}")]
    Read(#[source] io::Error),
    /// The settings of the host mode cannot be parsed.
    #[error("{HOST_MODE_CONFIG} is not understood")]
    Parse(#[from] HostModeConfigError),
}

/// The two modes of the agent.
#[derive(Debug)]
pub(crate) enum Mode {
    /// PID 1 of a microVM. Clients connect over vsock.
    Guest,
    /// PID 1 of the emulated host. Clients connect over TCP and need a token.
    Host(HostModeConfig),
}

impl Mode {
    /// Reads the mode from the initramfs.
    pub(crate) fn load() -> Result<Self, SettingsError> {
        match fs::read_to_string(HOST_MODE_CONFIG) {
            Ok(text) => Ok(Self::Host(HostModeConfig::parse(&text)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::Guest),
            Err(error) => Err(SettingsError::Read(error)),
        }
    }
}

/// Addresses of the first network card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Network {
    pub(crate) address: Ipv4Addr,
    pub(crate) netmask: Ipv4Addr,
    pub(crate) gateway: Option<Ipv4Addr>,
    pub(crate) nameserver: Option<Ipv4Addr>,
}

impl Network {
    /// Parses the network from a kernel command line. An invalid value counts as absent: the machine then boots without
    /// a network, so that it can still be examined.
    pub(crate) fn from_command_line(command_line: &str) -> Option<Self> {
        let value = command_line
            .split_whitespace()
            .find_map(|word| word.strip_prefix(NETWORK_KEY))?;
        let mut parts = value.split(',');
        let (address, prefix) = parts.next()?.split_once('/')?;
        let prefix: u32 = prefix.parse().ok().filter(|prefix| *prefix <= 32)?;
        let mut next_address = || match parts.next() {
            None | Some("") => Some(None),
            Some(text) => text.parse().ok().map(Some),
        };
        Some(Self {
            address: address.parse().ok()?,
            // A shift by all 32 bits is no shift to Rust.
            netmask: Ipv4Addr::from_bits(u32::MAX.checked_shl(32 - prefix).unwrap_or(0)),
            gateway: next_address()?,
            nameserver: next_address()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_network_is_read() {
        let network =
            Network::from_command_line("quiet hearth.net=10.0.2.15/24,10.0.2.2,10.0.2.3 x=y");
        assert_eq!(
            network,
            Some(Network {
                address: Ipv4Addr::new(10, 0, 2, 15),
                netmask: Ipv4Addr::new(255, 255, 255, 0),
                gateway: Some(Ipv4Addr::new(10, 0, 2, 2)),
                nameserver: Some(Ipv4Addr::new(10, 0, 2, 3)),
            })
        );
    }

    #[test]
    fn gateway_and_nameserver_may_be_missing() {
        let network = Network::from_command_line("hearth.net=1.2.3.4/0").unwrap();
        assert_eq!(network.netmask, Ipv4Addr::UNSPECIFIED);
        assert_eq!((network.gateway, network.nameserver), (None, None));
        let network = Network::from_command_line("hearth.net=1.2.3.4/32,,8.8.8.8").unwrap();
        assert_eq!(network.netmask, Ipv4Addr::BROADCAST);
        assert_eq!(network.nameserver, Some(Ipv4Addr::new(8, 8, 8, 8)));
    }

    #[test]
    fn nonsense_is_no_network() {
        for word in [
            "hearth.net=",
            "hearth.net=1.2.3.4",
            "hearth.net=1.2.3.4/33",
            "hearth.net=1.2.3.4/8,x",
        ] {
            assert_eq!(Network::from_command_line(word), None, "{word}");
        }
    }
}
