use super::*;

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(*name, value.parse().unwrap());
    }
    headers
}

#[test]
fn what_is_of_the_hop_is_removed() {
    let mut headers = headers(&[
        ("connection", "keep-alive, X-Private"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("te", "deflate, Trailers"),
        ("x-private", "1"),
        ("accept", "*/*"),
    ]);
    strip_hop_by_hop(&mut headers);
    let left: Vec<_> = headers
        .iter()
        .map(|(n, v)| (n.as_str(), v.to_str().unwrap()))
        .collect();
    assert_eq!(left.len(), 2);
    assert!(left.contains(&("accept", "*/*")) && left.contains(&("te", "trailers")));
}

#[test]
fn a_client_cannot_drop_what_the_message_is() {
    let mut headers = headers(&[
        ("connection", "host, content-length, cookie"),
        ("host", "a.test"),
        ("content-length", "3"),
        ("cookie", "a=1"),
    ]);
    strip_hop_by_hop(&mut headers);
    assert_eq!(headers.len(), 3);
}

#[test]
fn an_upgrade_must_be_said_twice_and_in_http_11() {
    let both = headers(&[
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "websocket"),
    ]);
    let upgrade = wanted_upgrade(Version::HTTP_11, &both).unwrap();
    assert!(is_websocket(&Method::GET, &upgrade));
    assert!(!is_websocket(&Method::POST, &upgrade));
    assert!(wanted_upgrade(Version::HTTP_10, &both).is_none());
    let one = headers(&[("upgrade", "websocket")]);
    assert!(wanted_upgrade(Version::HTTP_11, &one).is_none());
}

#[test]
fn targets_fit_the_protocol() {
    let uri = Uri::from_static("https://vm.test/a?b=c");
    let authority = uri.authority().cloned();
    let mut headers = headers(&[("cookie", "a=1"), ("cookie", "b=2")]);
    let h1 = target(&uri, authority.clone(), Version::HTTP_11, &mut headers).unwrap();
    assert_eq!(h1, "/a?b=c");
    assert_eq!(headers[HOST], "vm.test");
    assert_eq!(headers[COOKIE], "a=1; b=2");
    let h2 = target(&uri, authority, Version::HTTP_2, &mut headers).unwrap();
    assert_eq!(h2, "http://vm.test/a?b=c");
    assert!(!headers.contains_key(HOST));
}

#[test]
fn the_asterisk_stays() {
    let uri = Uri::from_static("*");
    let target = target(&uri, None, Version::HTTP_11, &mut HeaderMap::new()).unwrap();
    assert_eq!(target, "*");
}
