//! WebSockets through the endpoint.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use hyper::HeaderMap;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async_with_config, client_async_with_config};

use crate::client::tls;
use crate::rig::Rig;
use crate::transfer::peak_kib;

type Socket = WebSocketStream<TlsStream<TcpStream>>;

/// The library's own buffers would outweigh everything that is measured here.
fn small() -> WebSocketConfig {
    WebSocketConfig::default().read_buffer_size(4096)
}

/// An application that sends back what it gets, first of all the subprotocols it was offered.
async fn echo(chooses: Option<&'static str>) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut offered = String::new();
                #[allow(clippy::result_large_err, reason = "the library says so")]
                let handshake = |request: &Request, mut response: Response| {
                    if let Some(offer) = request.headers().get("sec-websocket-protocol") {
                        offered = offer.to_str().unwrap().to_owned();
                    }
                    if let Some(choice) = chooses {
                        let choice = choice.parse().unwrap();
                        response
                            .headers_mut()
                            .insert("sec-websocket-protocol", choice);
                    }
                    Ok(response)
                };
                let mut socket = accept_hdr_async_with_config(stream, handshake, Some(small()))
                    .await
                    .unwrap();
                socket.send(Message::text(offered)).await.unwrap();
                while let Some(Ok(message)) = socket.next().await {
                    if message.is_close() || socket.send(message).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

pub(crate) async fn connect(
    rig: &Rig,
    path: &str,
    headers: &[(&'static str, &str)],
) -> Result<(Socket, HeaderMap), Error> {
    let mut request = format!("wss://{}{path}", rig.own)
        .into_client_request()
        .unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    let stream = tls(rig, rig.own, "127.0.0.1", "http/1.1").await;
    let (socket, response) = client_async_with_config(request, stream, Some(small())).await?;
    Ok((socket, response.headers().clone()))
}

fn offer(rig: &Rig, more: &str) -> String {
    format!(
        "lambda-microvms, lambda-microvms.authentication.{}{more}",
        rig.token()
    )
}

#[tokio::test]
async fn messages_go_both_ways() {
    let rig = Rig::new().await;
    rig.put(8080, echo(None).await);
    let token = rig.token();
    let (mut socket, headers) = connect(&rig, "/", &[("x-aws-proxy-auth", token.as_str())])
        .await
        .unwrap();
    assert!(!headers.contains_key("sec-websocket-protocol"));
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::text(""));
    for size in [0, 1, 125, 70_000, 1_000_000] {
        let message = Message::binary(vec![7; size]);
        socket.send(message.clone()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), message);
    }
    socket.close(None).await.unwrap();
    while socket.next().await.is_some() {}
}

#[tokio::test]
async fn subprotocols_carry_the_credentials() {
    let rig = Rig::new().await;
    rig.put(9001, echo(None).await);
    let offered = offer(&rig, ", lambda-microvms.port.9001, chat, superchat");
    let (mut socket, headers) = connect(&rig, "/", &[("sec-websocket-protocol", &offered)])
        .await
        .unwrap();
    assert_eq!(headers["sec-websocket-protocol"], "lambda-microvms");
    assert_eq!(
        socket.next().await.unwrap().unwrap(),
        Message::text("chat, superchat")
    );
}

#[tokio::test]
async fn the_applications_choice_goes_first() {
    let rig = Rig::new().await;
    rig.put(8080, echo(Some("chat")).await);
    let offered = offer(&rig, ", chat");
    let (_socket, headers) = connect(&rig, "/", &[("sec-websocket-protocol", &offered)])
        .await
        .unwrap();
    assert_eq!(headers["sec-websocket-protocol"], "chat");
}

#[tokio::test]
async fn the_header_goes_before_the_subprotocol() {
    let rig = Rig::new().await;
    rig.put(9001, echo(None).await);
    let offered = offer(&rig, ", lambda-microvms.port.9002");
    let headers = [
        ("sec-websocket-protocol", offered.as_str()),
        ("x-aws-proxy-port", "9001"),
    ];
    connect(&rig, "/", &headers).await.unwrap();
}

#[tokio::test]
async fn bad_credentials_fail_the_handshake() {
    let rig = Rig::new().await;
    rig.put(8080, echo(None).await);
    let token = rig.token();
    for (offered, status) in [
        (format!("lambda-microvms.authentication.{token}"), 403),
        (
            "lambda-microvms, lambda-microvms.authentication.x".to_owned(),
            403,
        ),
        (offer(&rig, ", lambda-microvms.port.x"), 400),
        (offer(&rig, ", lambda-microvms.port.81"), 502),
    ] {
        let Err(Error::Http(response)) =
            connect(&rig, "/", &[("sec-websocket-protocol", &offered)]).await
        else {
            panic!("let in with {offered}");
        };
        assert_eq!(response.status(), status, "{offered}");
    }
}

#[tokio::test]
async fn an_open_stream_outlives_its_token() {
    let rig = Rig::new().await;
    rig.put(8080, echo(None).await);
    let grant = hearth_endpoint::Grant {
        microvm: rig.guest.id(),
        access: hearth_endpoint::Access::Ports(vec![8080..=8080]),
    };
    let second = Duration::from_secs(1);
    let token = rig
        .keys
        .issue(&grant, 2 * second, std::time::SystemTime::now())
        .unwrap();
    let headers = [("x-aws-proxy-auth", token.reveal())];
    let (mut socket, _) = connect(&rig, "/", &headers).await.unwrap();
    tokio::time::sleep(2 * second).await;
    assert!(connect(&rig, "/", &headers).await.is_err());
    socket.next().await.unwrap().unwrap();
    socket.send(Message::text("still here")).await.unwrap();
    assert_eq!(
        socket.next().await.unwrap().unwrap(),
        Message::text("still here")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_silent_websockets_fit() {
    let rig = Rig::new().await;
    rig.put(8080, echo(None).await);
    let token = rig.token();
    let before = peak_kib();
    let mut sockets = Vec::new();
    for _ in 0..1000 {
        let (mut socket, _) = connect(&rig, "/", &[("x-aws-proxy-auth", token.as_str())])
            .await
            .unwrap();
        socket.next().await.unwrap().unwrap();
        sockets.push(socket);
    }
    // Client, endpoint and application together; the endpoint's part is about half.
    let each_kib = (peak_kib() - before) / 1000;
    println!("{each_kib} KiB for each WebSocket");
    assert!(each_kib < 100, "{each_kib} KiB for each WebSocket");
    for socket in &mut sockets {
        socket.send(Message::text("x")).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("x"));
    }
}

/// Either direction may end first: what a client still sends then arrives.
#[tokio::test]
async fn a_stream_that_is_half_closed_goes_on() {
    let rig = Rig::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    rig.put(8080, listener.local_addr().unwrap());
    let application = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let answer = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        stream.write_all(answer).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut rest = String::new();
        stream.read_to_string(&mut rest).await.unwrap();
        rest
    });
    let mut client = tls(&rig, rig.own, "127.0.0.1", "http/1.1").await;
    let request = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nX-aws-proxy-auth: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        rig.token()
    );
    client.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 101 "));
    client.write_all(b"late").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(application.await.unwrap(), "late");
}
