use http::HeaderName;
use proptest::prelude::*;

use super::*;

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_str(value).unwrap(),
        );
    }
    headers
}

#[test]
fn headers_are_read_and_removed() {
    let mut headers = headers(&[
        ("X-aws-proxy-auth", "a.b"),
        ("X-AWS-Proxy-Port", "9000"),
        ("x-aws-proxy-force-h2", "true"),
        ("x-aws-proxy-whatever", "1"),
        ("x-aws-proxyish", "stays"),
    ]);
    let credentials = Credentials::take(&mut headers, false);
    assert_eq!(credentials.token(), Ok("a.b"));
    assert_eq!(credentials.port(), Ok(Some(9000)));
    assert!(credentials.force_h2);
    assert_eq!(headers.keys().collect::<Vec<_>>(), ["x-aws-proxyish"]);
}

#[test]
fn nothing_said_means_no_token_and_no_port() {
    let credentials = Credentials::take(&mut HeaderMap::new(), true);
    assert_eq!(credentials.token(), Err(Refusal::MissingAuthentication));
    assert_eq!(credentials.port(), Ok(None));
}

#[test]
fn two_tokens_are_none_and_bad_ports_malformed() {
    let mut twice = headers(&[("x-aws-proxy-auth", "a"), ("x-aws-proxy-auth", "b")]);
    assert!(Credentials::take(&mut twice, false).token().is_err());
    for port in [
        "",
        "0",
        "+1",
        " 1",
        "65536",
        "1a",
        "99999999999999999999",
        "-1",
    ] {
        let mut headers = headers(&[("x-aws-proxy-port", port)]);
        let credentials = Credentials::take(&mut headers, false);
        assert_eq!(credentials.port(), Err(Refusal::Malformed), "{port:?}");
    }
}

#[test]
fn subprotocols_are_parted() {
    let mut headers = headers(&[
        (
            "sec-websocket-protocol",
            "graphql-ws, lambda-microvms.port.81,lambda-microvms",
        ),
        (
            "sec-websocket-protocol",
            "lambda-microvms.authentication.a..b.c.d, other",
        ),
    ]);
    let credentials = Credentials::take(&mut headers, true);
    assert_eq!(credentials.token(), Ok("a..b.c.d"));
    assert_eq!(credentials.port(), Ok(Some(81)));
    assert!(credentials.offered_base);
    assert_eq!(headers[SEC_WEBSOCKET_PROTOCOL], "graphql-ws, other");
}

#[test]
fn without_the_base_all_belongs_to_the_application() {
    let offer = "lambda-microvms.authentication.a, lambda-microvms.port.1";
    let mut headers = headers(&[("sec-websocket-protocol", offer)]);
    let credentials = Credentials::take(&mut headers, true);
    assert!(credentials.token().is_err());
    assert_eq!(credentials.port(), Ok(None));
    assert_eq!(headers[SEC_WEBSOCKET_PROTOCOL], offer);
}

#[test]
fn headers_go_before_subprotocols() {
    let mut headers = headers(&[
        ("x-aws-proxy-auth", "header"),
        ("x-aws-proxy-port", "1"),
        (
            "sec-websocket-protocol",
            "lambda-microvms, lambda-microvms.authentication.x, lambda-microvms.port.2",
        ),
    ]);
    let credentials = Credentials::take(&mut headers, true);
    assert_eq!(credentials.token(), Ok("header"));
    assert_eq!(credentials.port(), Ok(Some(1)));
    assert!(headers.is_empty());
}

proptest! {
    #[test]
    fn nothing_of_ours_is_left(
        names in prop::collection::vec("[xX]-[aA]ws-proxy-[a-z]{1,8}", 0..8),
        offers in prop::collection::vec("(lambda-microvms(\\.(port|authentication)\\.[a-z0-9]{0,5})?|[a-z]{1,4})", 0..8),
    ) {
        let mut headers = HeaderMap::new();
        for name in &names {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_static("1"));
        }
        let with_base = format!("lambda-microvms, {}", offers.join(", "));
        headers.append(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_str(&with_base).unwrap());
        Credentials::take(&mut headers, true);
        for (name, value) in &headers {
            prop_assert!(!name.as_str().starts_with("x-aws-proxy-"));
            prop_assert!(!value.to_str().unwrap().contains("lambda-microvms"));
        }
    }
}
