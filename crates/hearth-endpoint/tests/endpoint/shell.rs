//! The shell over a WebSocket.

use futures_util::{SinkExt, StreamExt};
use hearth_endpoint::{Ingress, ShellInput, TerminalSize};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::client::get;
use crate::rig::Rig;
use crate::websocket::connect;

async fn rig() -> Rig {
    let rig = Rig::new().await;
    rig.guest.set(|microvm| {
        microvm.ingress = Ingress {
            http: false,
            shell: true,
            preflights: false,
        }
    });
    rig
}

fn offer(rig: &Rig, more: &str) -> String {
    format!(
        "lambda-microvms, lambda-microvms.authentication.{}{more}",
        rig.shell_token()
    )
}

#[tokio::test]
async fn a_session_from_beginning_to_end() {
    let rig = rig().await;
    let offered = offer(&rig, "");
    let (mut socket, headers) = connect(&rig, "/shell", &[("sec-websocket-protocol", &offered)])
        .await
        .unwrap();
    assert_eq!(headers["sec-websocket-protocol"], "lambda-microvms");
    let first = socket.next().await.unwrap().unwrap().into_text().unwrap();
    let first: serde_json::Value = serde_json::from_str(&first).unwrap();
    assert_eq!(first["type"], "session_init");
    assert_eq!(first["session_id"].as_str().unwrap().len(), 36);

    for (sent, shown) in [
        (Message::binary("ls\n"), "ls\n"),
        (Message::text("typed"), "typed"),
        (Message::text("{\"a\":1}"), "{\"a\":1}"),
        (
            Message::text("{\"type\":\"resize\",\"cols\":80,\"rows\":24}"),
            "80x24",
        ),
    ] {
        socket.send(sent).await.unwrap();
        assert_eq!(
            socket.next().await.unwrap().unwrap(),
            Message::binary(shown)
        );
    }
    let first = rig.guest.shell_input.lock().unwrap()[0].clone();
    assert_eq!(first, ShellInput::Resize(TerminalSize::default()));

    socket.send(Message::binary("\u{4}")).await.unwrap();
    let Message::Close(Some(close)) = socket.next().await.unwrap().unwrap() else {
        panic!("no close");
    };
    assert_eq!(
        (close.code, close.reason.as_str()),
        (CloseCode::Normal, "shell exited")
    );
}

#[tokio::test]
async fn all_ways_in() {
    let rig = rig().await;
    let token = rig.shell_token();
    let with_port = offer(&rig, ", lambda-microvms.port.8022");
    for (path, headers) in [
        ("/", vec![("sec-websocket-protocol", with_port.as_str())]),
        ("/shell", vec![("x-aws-proxy-auth", token.as_str())]),
        (
            "/",
            vec![
                ("x-aws-proxy-auth", token.as_str()),
                ("x-aws-proxy-port", "8022"),
            ],
        ),
    ] {
        assert!(
            connect(&rig, path, &headers).await.is_ok(),
            "{path} {headers:?}"
        );
    }
}

#[tokio::test]
async fn what_is_no_shell_is_a_502() {
    let rig = rig().await;
    let token = rig.shell_token();
    assert_eq!(
        get(&rig, "/shell", &[("x-aws-proxy-auth", &token)])
            .await
            .status,
        502
    );
    let Err(Error::Http(response)) = connect(&rig, "/other", &[("x-aws-proxy-auth", &token)]).await
    else {
        panic!("let in");
    };
    assert_eq!(response.status(), 502);
}

#[tokio::test]
async fn leaving_hangs_up() {
    let rig = rig().await;
    let token = rig.shell_token();
    let (mut socket, _) = connect(&rig, "/shell", &[("x-aws-proxy-auth", &token)])
        .await
        .unwrap();
    socket.next().await.unwrap().unwrap();
    socket.close(None).await.unwrap();
    while socket.next().await.is_some() {}
}
