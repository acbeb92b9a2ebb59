//! Clients that mean no good.

use std::time::{Duration, Instant};

use bytes::Bytes;
use hearth_endpoint::Settings;
use http_body_util::Full;
use hyper::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::application::{self, Speech};
use crate::client::{get_in, http2, raw, tls};
use crate::rig::Rig;

async fn rig() -> Rig {
    with(Settings::default()).await
}

async fn with(settings: Settings) -> Rig {
    let rig = Rig::with(settings).await;
    rig.put(8080, application::start(Speech::Http1).await);
    rig
}

/// Whatever the framing says, the application must see at most one request, and never the smuggled one.
#[tokio::test]
async fn doubtful_framing_is_refused() {
    let rig = rig().await;
    let token = rig.token();
    for lines in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 4",
        "Content-Length: 4\r\nContent-Length: 5",
        "Content-Length: 4\r\nContent-Length: 4",
        "Content-Length: 4, 4",
        "Content-Length: +4",
        "Content-Length: -1",
        "Content-Length : 4",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding:\u{b}chunked",
        "Transfer-Encoding\t: chunked",
        "X: y\r\n Transfer-Encoding: chunked",
        "X: y\r\n\tContent-Length: 4",
        "Host: other",
        "X: a\0b",
        "X y",
    ] {
        let request = format!(
            "POST /mirror HTTP/1.1\r\nHost: a\r\nX-aws-proxy-auth: {token}\r\n{lines}\r\n\r\n\
             0\r\n\r\nGET /seen?smuggled HTTP/1.1\r\nHost: a\r\nX-aws-proxy-auth: {token}\r\n\r\n"
        );
        let answer = raw(&rig, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{lines:?}: {answer}");
        assert!(!answer.contains("smuggled"), "{lines:?}: {answer}");
    }
}

/// Who sends on after a refusal hears it, and not of a broken connection.
#[tokio::test]
async fn a_refused_upload_gets_its_answer() {
    let rig = rig().await;
    let mut request = b"PUT /mirror HTTP/1.1\r\nHost: a\r\nX-aws-proxy-auth: wrong\r\n\
          Content-Length: 16777216\r\n\r\n"
        .to_vec();
    request.resize(request.len() + (16 << 20), b'x');
    let answer = raw(&rig, &request).await;
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
}

#[tokio::test]
async fn chunks_that_lie_end_the_connection() {
    let rig = rig().await;
    let token = rig.token();
    for body in [
        "5\r\nabc\r\n0\r\n\r\n",
        "x\r\n",
        "ffffffffffffffffff\r\n",
        "3 \u{b}\r\nabc\r\n0\r\n\r\n",
    ] {
        let request = format!(
            "POST /mirror HTTP/1.1\r\nHost: a\r\nX-aws-proxy-auth: {token}\r\n\
             Transfer-Encoding: chunked\r\n\r\n{body}GET /seen?smuggled HTTP/1.1\r\nHost: a\r\n\
             X-aws-proxy-auth: {token}\r\n\r\n"
        );
        let answer = raw(&rig, request.as_bytes()).await;
        assert!(!answer.contains("smuggled"), "{body:?}: {answer}");
    }
}

#[tokio::test]
async fn odd_requests_are_refused() {
    let rig = rig().await;
    let token = rig.token();
    let auth = format!("X-aws-proxy-auth: {token}\r\n");
    for (request, status) in [
        (
            format!("CONNECT 10.0.0.1:22 HTTP/1.1\r\nHost: 10.0.0.1:22\r\n{auth}\r\n"),
            "400",
        ),
        (
            format!("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n{auth}\r\n"),
            "400",
        ),
        (
            format!("GET http://b/ HTTP/1.1\r\nHost: a\r\n{auth}\r\n"),
            "400",
        ),
        (format!("GET / HTTP/9.9\r\nHost: a\r\n{auth}\r\n"), "400"),
        (format!("GET / HTTP/1.1\r\nHost: a b\r\n{auth}\r\n"), "400"),
        (
            format!("GET /\u{1} HTTP/1.1\r\nHost: a\r\n{auth}\r\n"),
            "400",
        ),
        ("\r\n\r\n\r\n\x16\x03\x01".to_owned(), "400"),
        (
            format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(1000)),
            "431",
        ),
        (
            format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "y".repeat(100_000)),
            "431",
        ),
    ] {
        let answer = raw(&rig, request.as_bytes()).await;
        let start: String = request.chars().take(40).collect();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{start:?}: {answer}"
        );
    }
}

/// `Upgrade: h2c` would take all that follows out of the endpoint's sight.
#[tokio::test]
async fn an_upgrade_to_http2_is_ignored() {
    let rig = rig().await;
    let request = format!(
        "GET /seen HTTP/1.1\r\nHost: a\r\nX-aws-proxy-auth: {}\r\nConnection: Upgrade, HTTP2-Settings, close\r\n\
         Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n",
        rig.token()
    );
    let answer = raw(&rig, request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(
        !answer.to_lowercase().contains("h2c") && !answer.contains("http2-settings"),
        "{answer}"
    );
}

/// HTTP/2 can carry what would split a request of HTTP/1.1.
#[tokio::test]
async fn downgrades_cannot_be_split() {
    let rig = rig().await;
    for (name, value) in [
        ("transfer-encoding", "chunked"),
        ("connection", "x"),
        ("upgrade", "x"),
    ] {
        let mut client = http2::<Full<Bytes>>(&rig).await;
        let request = Request::post(format!("https://{}/seen", rig.own))
            .header("x-aws-proxy-auth", rig.token())
            .header(name, value)
            .body(Full::from("0\r\n\r\nGET / HTTP/1.1\r\n\r\n"))
            .unwrap();
        // The client's own library may strip or refuse it; the application must not see it in any case.
        if let Ok(answer) = client.send_request(request).await {
            let answer = crate::client::Answer::read(answer).await;
            assert!(
                !answer.body.contains(&format!("{name}: {value}")),
                "{}",
                answer.body
            );
        }
    }
}

#[tokio::test]
async fn a_dripping_head_is_cut_off() {
    let rig = with(Settings {
        head_time: Duration::from_secs(1),
        ..Settings::default()
    })
    .await;
    let mut stream = tls(&rig, rig.own, "127.0.0.1", "http/1.1").await;
    let begun = Instant::now();
    let mut answer = [0; 1024];
    loop {
        if stream.write_all(b"X").await.is_err() {
            break;
        }
        let read = tokio::time::timeout(Duration::from_millis(100), stream.read(&mut answer)).await;
        if read.is_ok() {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "still connected");
    }
}

#[tokio::test]
async fn silent_connections_are_cut_off() {
    let limits = Settings {
        head_time: Duration::from_secs(1),
        handshake_time: Duration::from_secs(1),
        ..Settings::default()
    };
    let rig = with(limits).await;
    for alpn in ["http/1.1", "h2"] {
        let mut stream = tls(&rig, rig.own, "127.0.0.1", alpn).await;
        if alpn == "h2" {
            stream
                .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
                .await
                .unwrap();
        }
        let closing = async {
            while stream
                .read(&mut [0; 1024])
                .await
                .is_ok_and(|count| count > 0)
            {}
        };
        tokio::time::timeout(Duration::from_secs(10), closing)
            .await
            .expect(alpn);
    }
    // Before TLS as well.
    let mut stream = tokio::net::TcpStream::connect(rig.own).await.unwrap();
    let mut answer = [0; 16];
    let closing = stream.read(&mut answer);
    let _ = tokio::time::timeout(Duration::from_secs(5), closing)
        .await
        .expect("no TLS");
}

#[tokio::test]
async fn a_body_that_stands_still_is_given_up() {
    let rig = with(Settings {
        upload_pause: Duration::from_secs(1),
        ..Settings::default()
    })
    .await;
    let mut stream = tls(&rig, rig.own, "127.0.0.1", "http/1.1").await;
    let head = format!(
        "POST /sink HTTP/1.1\r\nHost: a\r\nX-aws-proxy-auth: {}\r\nContent-Length: 100\r\n\r\nabc",
        rig.token()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let closing = async {
        while stream
            .read(&mut [0; 1024])
            .await
            .is_ok_and(|count| count > 0)
        {}
    };
    tokio::time::timeout(Duration::from_secs(5), closing)
        .await
        .expect("still connected");
}

#[tokio::test]
async fn strangers_do_not_push_out_who_is_in() {
    let rig = with(Settings {
        max_unproven_connections: 4,
        ..Settings::default()
    })
    .await;
    let mut inside = crate::client::http1::<String>(&rig).await;
    let request = |rig: &Rig| {
        Request::get("/seen")
            .header("host", "a")
            .header("x-aws-proxy-auth", rig.token())
            .body(String::new())
            .unwrap()
    };
    assert_eq!(
        inside.send_request(request(&rig)).await.unwrap().status(),
        200
    );
    let mut strangers = Vec::new();
    for _ in 0..10 {
        strangers.push(tokio::net::TcpStream::connect(rig.own).await.unwrap());
    }
    inside.ready().await.unwrap();
    assert_eq!(
        inside.send_request(request(&rig)).await.unwrap().status(),
        200
    );
    drop(strangers);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(get_in(&rig, "/seen").await.status, 200);
}

/// Finding L11: connections of one address that shows no token leave places for others.
#[tokio::test]
async fn one_address_does_not_take_every_place() {
    let rig = with(Settings {
        max_unproven_connections: 16,
        ..Settings::default()
    })
    .await;
    let mut strangers = Vec::new();
    for _ in 0..32 {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        // Another address than 127.0.0.1, behind which everybody is.
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        strangers.push(socket.connect(rig.own).await.unwrap());
    }
    // Those over the bound are closed, so the listener has seen all of them.
    let mut last = strangers.pop().unwrap();
    assert_eq!(last.read(&mut [0; 1]).await.unwrap_or(0), 0);
    assert_eq!(get_in(&rig, "/seen").await.status, 200);
}

/// Finding L12: names that are nobody's do not use up what the name of a microVM needs.
#[tokio::test]
async fn strange_names_do_not_keep_a_microvm_from_its_certificate() {
    let rig = with(Settings {
        domain: Some("hearth.test".to_owned()),
        ..Settings::default()
    })
    .await;
    let mut is_refused = false;
    for _ in 0..1000 {
        let name = format!("{}.hearth.test", uuid::Uuid::new_v4());
        is_refused = !crate::client::is_shown_its_name(&rig, rig.shared, &name).await;
        if is_refused {
            break;
        }
    }
    assert!(is_refused, "every strange name is signed for");
    let name = format!("{}.hearth.test", rig.guest.endpoint);
    assert!(crate::client::is_shown_its_name(&rig, rig.shared, &name).await);
}
