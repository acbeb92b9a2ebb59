use std::io::{ErrorKind, Read};
use std::net::{TcpListener, TcpStream};

use proptest::prelude::*;

use super::*;

#[test]
fn loopback_and_own_addresses_stay() {
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    assert!(is_outbound(ip("10.0.2.15"), ip("1.1.1.1")));
    assert!(!is_outbound(ip("10.0.2.15"), ip("127.0.0.9")));
    assert!(!is_outbound(ip("10.0.2.15"), ip("10.0.2.15")));
    assert!(!is_outbound(ip("fe80::1"), ip("::1")));
    assert!(!is_outbound(ip("10.0.2.15"), ip("0.0.0.0")));
}

#[test]
fn a_mapped_address_is_the_address_that_it_maps() {
    let mapped = "::ffff:127.0.0.1".parse::<Ipv6Addr>().unwrap().octets();
    assert!(address(AF_INET6, &mapped).unwrap().is_loopback());
}

#[test]
fn a_request_has_the_size_that_it_says() {
    let bytes = request(SOCK_DESTROY, 5, (AF_INET, IPPROTO_TCP), &[0; ID_BYTES]);
    assert_eq!(bytes.len(), 72);
    assert_eq!(bytes[0], 72);
}

#[test]
fn a_loopback_connection_is_not_found() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let port = client.local_addr().unwrap().port();
    let Ok(found) = netlink::open(Some(protocols::SOCK_DIAG))
        .and_then(|socket| dump(&socket, AF_INET, IPPROTO_TCP))
    else {
        // A kernel without the diagnostics.
        return;
    };
    assert!(found.iter().all(|id| id[..2] != port.to_be_bytes()));
    client.set_nonblocking(true).unwrap();
    assert_eq!(
        client.read(&mut [0]).unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
}

proptest! {
    #[test]
    fn any_datagram_ends(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for message in messages(&bytes) {
            let _ = outbound_id(message.body);
            let _ = error_of(message.body);
        }
    }
}
