//! Configures network interfaces by the classic ioctls (netdevice(7)): three calls configure a card, without rtnetlink.

use std::mem;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::check;

/// Opens a socket for the ioctls; its kind does not matter.
pub(crate) fn control_socket() -> Result<OwnedFd, Errno> {
    rustix::net::socket_with(
        AddressFamily::INET,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )
}

/// Brings the interface up.
pub(crate) fn bring_up(control: &OwnedFd, name: &str) -> Result<(), Errno> {
    let mut request = request(name)?;
    // The flag is a small positive number.
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    apply(control, libc::SIOCSIFFLAGS, &request)
}

/// Gives the interface its address and network mask.
pub(crate) fn set_address(
    control: &OwnedFd,
    name: &str,
    address: Ipv4Addr,
    netmask: Ipv4Addr,
) -> Result<(), Errno> {
    let mut request = request(name)?;
    request.ifr_ifru.ifru_addr = generic(address);
    apply(control, libc::SIOCSIFADDR, &request)?;
    request.ifr_ifru.ifru_netmask = generic(netmask);
    apply(control, libc::SIOCSIFNETMASK, &request)
}

/// Adds the default route.
pub(crate) fn add_default_route(control: &OwnedFd, gateway: Ipv4Addr) -> Result<(), Errno> {
    add_route(
        control,
        Ipv4Addr::UNSPECIFIED,
        Ipv4Addr::UNSPECIFIED,
        gateway,
    )
}

/// Adds a route to a network through a gateway.
pub(crate) fn add_route(
    control: &OwnedFd,
    network: Ipv4Addr,
    netmask: Ipv4Addr,
    gateway: Ipv4Addr,
) -> Result<(), Errno> {
    // SAFETY: all-zero bytes are a valid `rtentry`: integers, addresses and a null device name.
    let mut route: libc::rtentry = unsafe { mem::zeroed() };
    route.rt_dst = generic(network);
    route.rt_genmask = generic(netmask);
    route.rt_gateway = generic(gateway);
    route.rt_flags = libc::RTF_UP | libc::RTF_GATEWAY;
    // SAFETY: the kernel reads one `rtentry`; its device name is null.
    check(unsafe { libc::ioctl(control.as_raw_fd(), libc::SIOCADDRT, &raw const route) })?;
    Ok(())
}

fn apply(control: &OwnedFd, code: libc::Ioctl, request: &libc::ifreq) -> Result<(), Errno> {
    // SAFETY: the requests used here read one `ifreq`.
    check(unsafe { libc::ioctl(control.as_raw_fd(), code, request) })?;
    Ok(())
}

fn request(name: &str) -> Result<libc::ifreq, Errno> {
    // SAFETY: all-zero bytes are a valid `ifreq`: its union starts as integers.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    // The last byte stays zero and ends the name.
    if name.len() >= request.ifr_name.len() {
        return Err(Errno::NAMETOOLONG);
    }
    for (slot, byte) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *slot = byte.cast_signed();
    }
    Ok(request)
}

/// Converts the address to the generic `sockaddr` of the ioctls: port 0, then four bytes.
fn generic(address: Ipv4Addr) -> libc::sockaddr {
    // SAFETY: all-zero bytes are a valid `sockaddr`: it is made of integers.
    let mut generic: libc::sockaddr = unsafe { mem::zeroed() };
    // The constant fits: address families are small numbers.
    generic.sa_family = libc::AF_INET as libc::sa_family_t;
    for (slot, byte) in generic.sa_data[2..6].iter_mut().zip(address.octets()) {
        *slot = byte.cast_signed();
    }
    generic
}
