//! A slot: the network of one microVM, created before the microVM.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rtnetlink::{AddressMessageBuilder, Handle, LinkUnspec, LinkVeth, RouteMessageBuilder};
use std::net::{IpAddr, Ipv4Addr};

use crate::addresses::{self, GATEWAY, GATEWAY_MAC, HOST, PREFIX, SLOTS, TAP, UPLINK};
use crate::egress::Egress;
use crate::error::{SetupStep, failed};
use crate::{NetworkError, namespace, nft, rules, tap};

/// Netlink returns `EEXIST`, `ENFILE` and so on as negative numbers.
const EXISTS: i32 = -libc::EEXIST;
const NOT_THERE: i32 = -libc::EADDRNOTAVAIL;

/// A network namespace with a TAP device in it and a link to the host. Everything in it disappears with the last
/// descriptor or process that holds the namespace.
#[derive(Debug)]
pub struct Slot {
    /// The number of the slot on this host.
    pub number: u16,
    /// The network namespace for the VMM.
    pub namespace: OwnedFd,
    /// Empty namespaces for the VMM: of System V IPC and message queues (`ipc`), and of the host name (`uts`). They
    /// are created here because creating them takes a launch as long as entering all three.
    pub ipc: OwnedFd,
    /// See [`Slot::ipc`].
    pub uts: OwnedFd,
    /// The TAP device for the VMM's network card.
    pub tap: OwnedFd,
}

/// Creates a slot with internet egress, the usual one. Takes some milliseconds, mostly in the kernel.
pub(crate) fn make(first: u16, resolver_port: u16) -> Result<Slot, NetworkError> {
    namespace::apart(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .map_err(failed(SetupStep::Namespace))?;
        runtime.block_on(assemble(first, resolver_port))
    })
}

/// Changes the namespace of the calling thread.
async fn assemble(first: u16, resolver_port: u16) -> Result<Slot, NetworkError> {
    let host = namespace::current().map_err(failed(SetupStep::Namespace))?;
    namespace::leave_all().map_err(failed(SetupStep::Namespace))?;
    let own = namespace::current().map_err(failed(SetupStep::Namespace))?;
    let ipc = namespace::of_kind("ipc").map_err(failed(SetupStep::Namespace))?;
    let uts = namespace::of_kind("uts").map_err(failed(SetupStep::Namespace))?;
    // Before there is a link that could get an address by itself.
    set("net/ipv6/conf/all/disable_ipv6", "1").or_else(absent)?;
    set("net/ipv6/conf/default/disable_ipv6", "1").or_else(absent)?;
    set("net/ipv4/ip_forward", "1").map_err(failed(SetupStep::Forwarding))?;

    let links = connect()?;
    let tap = tap::open(TAP).map_err(failed(SetupStep::Tap))?;
    let number = join_to_host(&links, &host, first).await?;
    let tap_index = index_of(TAP)?;
    let up_index = index_of(UPLINK)?;
    let tap_up = LinkUnspec::new_with_index(tap_index)
        .address(GATEWAY_MAC.to_vec())
        .up();
    change(&links, tap_up.build(), SetupStep::Addresses).await?;
    change(
        &links,
        LinkUnspec::new_with_name("lo").up().build(),
        SetupStep::Addresses,
    )
    .await?;
    change(
        &links,
        LinkUnspec::new_with_index(up_index).up().build(),
        SetupStep::Addresses,
    )
    .await?;
    add_address(&links, tap_index, GATEWAY, PREFIX).await?;
    add_address(&links, up_index, addresses::slot_address(number), 32).await?;

    namespace::enter(host.as_fd()).map_err(failed(SetupStep::Namespace))?;
    receive_on_host(number).await?;
    namespace::enter(own.as_fd()).map_err(failed(SetupStep::Namespace))?;

    let way_out = RouteMessageBuilder::<Ipv4Addr>::new()
        .gateway(HOST)
        .output_interface(up_index)
        .onlink();
    let added = links.route().add(way_out.build()).execute().await;
    added.map_err(|error| failed(SetupStep::Routes)(io::Error::other(error)))?;
    // In one call: starting nft takes longer than all its rules.
    let rules = rules::slot(resolver_port) + &rules::egress(&Egress::internet());
    nft::apply(&rules).map_err(failed(SetupStep::Rules))?;
    // These exist once a rule tracks connections.
    for state in ["close", "time_wait"] {
        let name = format!("net/netfilter/nf_conntrack_tcp_timeout_{state}");
        set(&name, &rules::OVER_SECONDS.to_string()).map_err(failed(SetupStep::Rules))?;
    }
    Ok(Slot {
        number,
        namespace: own,
        ipc,
        uts,
        tap,
    })
}

/// Creates the pair of links between slot and host. The host's end has the slot's number in its name, and the kernel
/// gives a name only once: so another Hearth on the host, or a microVM that outlived its node, cannot have the same
/// number.
async fn join_to_host(links: &Handle, host: &OwnedFd, first: u16) -> Result<u16, NetworkError> {
    let count = SLOTS.len() as u16;
    for attempt in 0..count {
        let number = SLOTS.start + (first.wrapping_sub(SLOTS.start).wrapping_add(attempt)) % count;
        let name = addresses::host_link(number);
        let peer = LinkUnspec::new_with_name(&name).setns_by_fd(host.as_raw_fd());
        let pair = LinkVeth::new(UPLINK, &name).build();
        let added = links.link().add(pair).execute().await;
        added.map_err(|error| failed(SetupStep::Links)(io::Error::other(error)))?;
        match links.link().set(peer.build()).execute().await {
            Ok(()) => return Ok(number),
            Err(rtnetlink::Error::NetlinkError(error)) if error.raw_code() == EXISTS => {
                let removed = links.link().del(index_of(UPLINK)?).execute().await;
                removed.map_err(|error| failed(SetupStep::Links)(io::Error::other(error)))?;
            }
            Err(error) => return Err(failed(SetupStep::Links)(io::Error::other(error))),
        }
    }
    Err(NetworkError::NoSlot)
}

/// Sets up the host's end: up, without IPv6, and with the route to the slot.
async fn receive_on_host(number: u16) -> Result<(), NetworkError> {
    let name = addresses::host_link(number);
    let links = connect()?;
    set(&format!("net/ipv6/conf/{name}/disable_ipv6"), "1").or_else(absent)?;
    let index = index_of(&name)?;
    change(
        &links,
        LinkUnspec::new_with_index(index).up().build(),
        SetupStep::Links,
    )
    .await?;
    let route = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(addresses::slot_address(number), 32)
        .output_interface(index)
        .scope(rtnetlink::packet_route::route::RouteScope::Link);
    let added = links.route().add(route.build()).execute().await;
    added.map_err(|error| failed(SetupStep::Routes)(io::Error::other(error)))
}

/// A netlink connection in the namespace of the calling thread, served by the calling thread's runtime.
pub(crate) fn connect() -> Result<Handle, NetworkError> {
    let (connection, handle, _) = rtnetlink::new_connection().map_err(failed(SetupStep::Links))?;
    tokio::spawn(connection);
    Ok(handle)
}

pub(crate) async fn add_address(
    links: &Handle,
    index: u32,
    address: Ipv4Addr,
    prefix: u8,
) -> Result<(), NetworkError> {
    let added = links.address().add(index, IpAddr::V4(address), prefix);
    match added.execute().await {
        Ok(()) => Ok(()),
        Err(rtnetlink::Error::NetlinkError(error)) if error.raw_code() == EXISTS => Ok(()),
        Err(error) => Err(failed(SetupStep::Addresses)(io::Error::other(error))),
    }
}

/// Removes an address. Succeeds if it does not exist.
pub(crate) async fn remove_address(
    links: &Handle,
    index: u32,
    address: Ipv4Addr,
    prefix: u8,
) -> Result<(), NetworkError> {
    let message = AddressMessageBuilder::<Ipv4Addr>::new()
        .index(index)
        .address(address, prefix)
        .build();
    match links.address().del(message).execute().await {
        Ok(()) => Ok(()),
        Err(rtnetlink::Error::NetlinkError(error)) if error.raw_code() == NOT_THERE => Ok(()),
        Err(error) => Err(failed(SetupStep::Addresses)(io::Error::other(error))),
    }
}

async fn change(
    links: &Handle,
    message: rtnetlink::packet_route::link::LinkMessage,
    step: SetupStep,
) -> Result<(), NetworkError> {
    let done = links.link().set(message).execute().await;
    done.map_err(|error| failed(step)(io::Error::other(error)))
}

/// The index of a link in the namespace of the calling thread.
pub(crate) fn index_of(name: &str) -> Result<u32, NetworkError> {
    let index = nix::net::if_::if_nametoindex(name);
    index.map_err(|errno| failed(SetupStep::Links)(errno.into()))
}

/// Sets a kernel parameter in the namespace of the calling thread.
pub(crate) fn set(name: &str, value: &str) -> io::Result<()> {
    fs::write(format!("/proc/sys/{name}"), value)
}

/// Ignores a missing parameter: a kernel without IPv6 has none to switch off.
fn absent(error: io::Error) -> Result<(), NetworkError> {
    match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(failed(SetupStep::Ipv6)(error)),
    }
}
