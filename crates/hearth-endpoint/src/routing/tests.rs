use uuid::Uuid;

use super::*;

fn ids() -> (EndpointId, EndpointId) {
    (
        EndpointId(Uuid::from_u128(1)),
        EndpointId(Uuid::from_u128(2)),
    )
}

fn at(id: EndpointId) -> Authority {
    Authority::try_from(format!("{id}.hearth.test:443")).unwrap()
}

#[test]
fn an_own_port_needs_no_name() {
    let (one, two) = ids();
    let route = ListenerRoute::Own(one);
    let local = Authority::from_static("127.0.0.1:5000");
    assert_eq!(route.endpoint(None, Some(&local)), Ok(one));
    assert_eq!(route.endpoint(Some("localhost"), None), Ok(one));
    assert_eq!(route.endpoint(None, Some(&at(one))), Ok(one));
    assert!(route.endpoint(None, Some(&at(two))).is_err());
    assert!(route.endpoint(Some(at(two).host()), Some(&local)).is_err());
}

#[test]
fn a_shared_listener_goes_by_name() {
    let (one, two) = ids();
    let route = ListenerRoute::Shared;
    assert_eq!(
        route.endpoint(Some(at(one).host()), Some(&at(one))),
        Ok(one)
    );
    assert_eq!(route.endpoint(None, Some(&at(one))), Ok(one));
    let any = Authority::from_static("example.org");
    for (name, host, refusal) in [
        (Some(at(one)), Some(at(two)), Refusal::Misdirected),
        (Some(at(one)), Some(any.clone()), Refusal::Misdirected),
        (Some(at(one)), None, Refusal::Misdirected),
        (None, Some(any), Refusal::AuthenticationFailed),
        (None, None, Refusal::AuthenticationFailed),
    ] {
        let name = name.as_ref().map(Authority::host);
        assert_eq!(route.endpoint(name, host.as_ref()), Err(refusal));
    }
}

#[test]
fn one_host_and_no_more() {
    let uri = Uri::from_static("/");
    let mut headers = HeaderMap::new();
    assert_eq!(authority(&uri, &headers), Ok(None));
    headers.append(HOST, "a.test".parse().unwrap());
    assert_eq!(authority(&uri, &headers).unwrap().unwrap(), "a.test");
    let absolute = Uri::from_static("http://b.test/");
    assert_eq!(authority(&absolute, &headers), Err(Refusal::Malformed));
    headers.append(HOST, "a.test".parse().unwrap());
    assert_eq!(authority(&uri, &headers), Err(Refusal::Malformed));
    headers.remove(HOST);
    assert_eq!(authority(&absolute, &headers).unwrap().unwrap(), "b.test");
    for bad in ["", "a b", "user@a.test", "a.test/x"] {
        headers.insert(HOST, bad.parse().unwrap());
        assert!(authority(&uri, &headers).is_err(), "{bad:?}");
    }
}
