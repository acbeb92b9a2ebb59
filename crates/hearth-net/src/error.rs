//! Errors of networks, with advice.

use std::io;

/// Why there is no network, or not this one.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The process is not root.
    #[error("networks for microVMs need root: start the node as root, or without networks")]
    NotRoot,
    /// nftables is not installed.
    #[error(
        "networks for microVMs need {} (apt-get install nftables), or start the node without networks",
        crate::nft::PROGRAM
    )]
    NoNftables,
    /// The host has no TAP devices.
    #[error(
        "networks for microVMs need /dev/net/tun (modprobe tun), or start the node without networks"
    )]
    NoTun,
    /// All slot numbers are taken.
    #[error("all 65519 network slots of this host are taken")]
    NoSlot,
    /// The file with the resolver's port could not be read or written.
    #[error("cannot keep the resolver's port in {path}")]
    State {
        /// The file.
        path: std::path::PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A step of setting up a network failed.
    #[error("network, {step}: {hint}", hint = .step.hint())]
    Step {
        /// The step.
        step: SetupStep,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// A step of setting up a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetupStep {
    /// Creating a namespace.
    Namespace,
    /// Creating the TAP device.
    Tap,
    /// Creating the pair of links.
    Links,
    /// Adding an address.
    Addresses,
    /// Adding a route.
    Routes,
    /// Switching IPv6 off.
    Ipv6,
    /// Switching forwarding on.
    Forwarding,
    /// Applying nftables rules.
    Rules,
    /// Starting the name server of the guests.
    Resolver,
}

impl SetupStep {
    fn hint(self) -> &'static str {
        match self {
            Self::Namespace => "cannot create a network namespace; see user.max_net_namespaces",
            Self::Tap => "cannot create a TAP device; see /dev/net/tun",
            Self::Links => "cannot create a veth pair; the kernel needs CONFIG_VETH",
            Self::Addresses => "cannot add an address",
            Self::Routes => {
                "cannot add a route; is 198.18.0.0/15 used by something else on this host?"
            }
            Self::Ipv6 => "cannot switch IPv6 off in a slot",
            Self::Forwarding => "cannot switch on forwarding (net.ipv4.ip_forward)",
            Self::Rules => {
                "the kernel refused the nftables rules; it needs nftables with NAT, limits, reject and connection timeouts (CONFIG_NF_CONNTRACK_TIMEOUT)"
            }
            Self::Resolver => {
                "cannot listen on 198.18.0.1; does another program hold all addresses of that port?"
            }
        }
    }
}

impl std::fmt::Display for SetupStep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Namespace => "namespace",
            Self::Tap => "TAP",
            Self::Links => "links",
            Self::Addresses => "addresses",
            Self::Routes => "routes",
            Self::Ipv6 => "IPv6",
            Self::Forwarding => "forwarding",
            Self::Rules => "rules",
            Self::Resolver => "resolver",
        })
    }
}

pub(crate) fn failed(step: SetupStep) -> impl Fn(io::Error) -> NetworkError {
    move |source| NetworkError::Step { step, source }
}
