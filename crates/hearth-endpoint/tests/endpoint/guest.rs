//! Applications that mean no good, or do not know better: the endpoint lives on, and the client gets a clear answer.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::client::{Answer, get_in, http1, http2, raw};
use crate::rig::Rig;

/// An application that answers every connection with the same bytes, whatever is asked.
async fn saying(bytes: impl Into<Vec<u8>>) -> Rig {
    let rig = Rig::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    rig.put(8080, listener.local_addr().unwrap());
    let bytes: Bytes = bytes.into().into();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let bytes = bytes.clone();
            tokio::spawn(async move {
                let mut request = [0; 8192];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(&bytes).await;
                // Whatever else comes is read, so that closing is no reset.
                let _ = stream.shutdown().await;
                while stream.read(&mut request).await.is_ok_and(|count| count > 0) {}
            });
        }
    });
    rig
}

#[tokio::test]
async fn what_is_no_answer_is_a_502() {
    let (hung_up, no_http, too_large) = ("closed", "in HTTP", "64 KiB or 128 header lines");
    for (bytes, reason) in [
        ("".to_owned(), hung_up),
        ("SSH-2.0-OpenSSH_9.2\r\n".to_owned(), no_http),
        ("HTTP/1.1\r\n\r\n".to_owned(), no_http),
        ("HTTP/1.1 abc OK\r\n\r\n".to_owned(), no_http),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n".to_owned(),
            no_http,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n".to_owned(),
            no_http,
        ),
        ("HTTP/1.1 200 OK\r\nA: b".to_owned(), hung_up),
        (
            format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "b".repeat(10_000_000)),
            too_large,
        ),
        (
            "HTTP/1.1 200 OK\r\n".to_owned() + &"A: b\r\n".repeat(129) + "\r\n",
            too_large,
        ),
        ("\0".repeat(100_000), no_http),
    ] {
        let start: String = bytes.chars().take(60).collect();
        let rig = saying(bytes).await;
        let answer = tokio::time::timeout(Duration::from_secs(10), get_in(&rig, "/"))
            .await
            .unwrap();
        assert_eq!(answer.status, 502, "{start:?}");
        assert!(answer.body.contains(reason), "{start:?}: {}", answer.body);
        assert!(answer.headers.contains_key("x-hearth-reason"), "{start:?}");
    }
}

/// Two lengths in one answer could make the client see an answer that is not there.
#[tokio::test]
async fn an_answer_cannot_be_split() {
    let rig = saying(
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n\
         3\r\nabc\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nX: smuggled\r\nContent-Length: 0\r\n\r\n",
    )
    .await;
    let request = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nX-aws-proxy-auth: {}\r\nConnection: close\r\n\r\n",
        rig.token()
    );
    let answer = raw(&rig, request.as_bytes()).await;
    assert!(
        answer.contains("abc") && !answer.contains("smuggled"),
        "{answer}"
    );
    assert!(
        !answer.to_lowercase().contains("content-length: 5"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_body_that_breaks_off_is_seen_as_such() {
    for bytes in [
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    ] {
        let rig = saying(bytes).await;
        let request = || {
            Request::get(format!("https://{}/", rig.own))
                .header("host", rig.own.to_string())
                .header("x-aws-proxy-auth", rig.token())
                .body(Full::<Bytes>::default())
                .unwrap()
        };
        let answer = http1(&rig).await.send_request(request()).await.unwrap();
        assert!(answer.into_body().collect().await.is_err());
        let answer = http2(&rig).await.send_request(request()).await.unwrap();
        assert!(answer.into_body().collect().await.is_err());
    }
}

/// Nobody asked for another protocol, so the client must not be told of one.
#[tokio::test]
async fn an_upgrade_that_nobody_asked_for_is_no_upgrade() {
    let rig =
        saying("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nraw")
            .await;
    assert_eq!(get_in(&rig, "/").await.status, 502);
}

#[tokio::test]
async fn what_is_meant_for_one_hop_does_not_pass() {
    let rig = saying(
        "HTTP/1.1 200 OK\r\nConnection: x-hop, close\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\
         X-Amzn-Requestid: own\r\nX-Hearth-Reason: forged\r\nContent-Length: 2\r\n\r\nok",
    )
    .await;
    let answer: Answer = get_in(&rig, "/").await;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (StatusCode::OK, "ok")
    );
    for absent in ["connection", "x-hop", "keep-alive", "x-hearth-reason"] {
        assert!(!answer.headers.contains_key(absent), "{absent}");
    }
    assert_eq!(answer.headers["x-amzn-requestid"], "own");
}

/// Interim answers are skipped, however many there are.
#[tokio::test]
async fn interim_answers_are_skipped() {
    let interim = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(1000);
    let rig = saying(interim + "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let answer = get_in(&rig, "/").await;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (StatusCode::OK, "ok")
    );
}

/// An application that serves a connection at a time, as Python's `HTTPServer` does, and each to its end.
async fn one_at_a_time() -> Rig {
    let rig = Rig::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    rig.put(8080, listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 8192];
            while stream.read(&mut request).await.is_ok_and(|count| count > 0) {
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                stream.write_all(answer).await.unwrap();
            }
        }
    });
    rig
}

async fn post(rig: &Rig) -> Answer {
    let request = Request::post("/")
        .header("host", rig.own.to_string())
        .header("x-aws-proxy-auth", rig.token())
        .body(Full::<Bytes>::default())
        .unwrap();
    Answer::read(http1(rig).await.send_request(request).await.unwrap()).await
}

/// A free connection that is kept must not be what the application waits for while a request waits on a new one.
#[tokio::test]
async fn who_serves_a_connection_at_a_time_serves_all() {
    let rig = one_at_a_time().await;
    let all = async {
        for pause_ms in [0, 300, 700, 1500] {
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            assert_eq!(post(&rig).await.body, "ok", "after {pause_ms} ms");
            assert_eq!(get_in(&rig, "/").await.body, "ok", "after {pause_ms} ms");
        }
        let answers = tokio::join!(post(&rig), post(&rig), get_in(&rig, "/"), post(&rig));
        for answer in [answers.0, answers.1, answers.2, answers.3] {
            assert_eq!(answer.body, "ok");
        }
    };
    tokio::time::timeout(Duration::from_secs(10), all)
        .await
        .expect("a request waits for a connection that nobody uses");
}
