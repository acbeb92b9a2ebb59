//! The client against a service with one canned answer for each connection.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use hearth_client::{Client, ClientError, ExecEvent, ExecRequest, LogQuery, Settings};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// A service that gives these answers in turn; its requests come back when it has given all.
async fn service(answers: &[&str]) -> (Client, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answers: Vec<String> = answers.iter().map(|answer| (*answer).to_owned()).collect();
    let served = tokio::spawn(async move {
        let mut requests = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            requests.push(read(&mut stream).await);
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        requests
    });
    let client = Client::new(Settings {
        endpoint_url: format!("http://{address}"),
        region: "eu-west-1".to_owned(),
        access_key_id: "AKIDEXAMPLE".to_owned(),
        secret_access_key: "secret".to_owned(),
        ca_bundle_pem: String::new(),
    });
    (client.unwrap(), served)
}

/// A head and as much of a body as it says.
async fn read(stream: &mut tokio::net::TcpStream) -> String {
    let mut text = String::new();
    loop {
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return text;
            }
        }
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).await.unwrap();
        assert!(count > 0, "the request was cut off: {text}");
        text.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
    }
}

fn answer(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn calls_are_signed_and_pages_are_joined() {
    let first = answer(
        "200 OK",
        r#"{"items":[{"microvmId":"a"}],"nextToken":"x y"}"#,
    );
    let last = answer(
        "200 OK",
        r#"{"items":[{"microvmId":"b"}],"nextToken":null}"#,
    );
    let (client, served) = service(&[&first, &last]).await;
    let microvms = client.microvms(Some("arn:x")).await.unwrap();
    assert_eq!(
        microvms,
        [json!({"microvmId": "a"}), json!({"microvmId": "b"})]
    );
    let requests = served.await.unwrap();
    assert!(requests[0].starts_with("GET /2025-09-09/microvms?imageIdentifier=arn%3Ax HTTP/1.1"));
    assert!(requests[0].contains("Credential=AKIDEXAMPLE/"));
    assert!(requests[0].contains("/eu-west-1/lambda/aws4_request"));
    assert!(requests[1].contains("nextToken=x%20y"));
}

#[tokio::test]
async fn too_many_calls_are_made_again_after_a_pause() {
    let throttled = answer("429 Too Many Requests", r#"{"message":"slowly"}"#);
    let done = answer("200 OK", r#"{"microvmId":"a"}"#);
    let (client, served) = service(&[&throttled, &throttled, &done]).await;
    let input = json!({"imageIdentifier": "x"});
    assert_eq!(client.run_microvm(&input).await.unwrap()["microvmId"], "a");
    let requests = served.await.unwrap();
    assert!(
        requests
            .iter()
            .all(|request| request.ends_with(r#"{"imageIdentifier":"x"}"#))
    );
}

#[tokio::test]
async fn a_refusal_has_code_and_message() {
    let refused = "HTTP/1.1 404 Not Found\r\nx-amzn-errortype: ResourceNotFoundException\r\n\
                   content-length: 21\r\n\r\n{\"message\":\"no such\"}";
    let (client, _served) = service(&[refused]).await;
    let error = client.microvm("microvm-x").await.unwrap_err();
    assert!(error.is_not_found());
    assert_eq!(error.to_string(), "no such (ResourceNotFoundException)");
}

#[tokio::test]
async fn a_group_that_is_not_there_has_no_events_yet() {
    let missing = answer(
        "400 Bad Request",
        r#"{"__type":"ResourceNotFoundException","message":"x"}"#,
    );
    let (client, _served) = service(&[&missing]).await;
    let query = LogQuery {
        group: "g",
        stream: None,
        start_ms: None,
    };
    assert_eq!(client.log_events(&query).await.unwrap(), []);
}

#[tokio::test]
async fn a_process_whose_end_is_not_told_was_cut_off() {
    let cut = answer("200 OK", "{\"stdout\":\"aGk=\"}\n{\"exi");
    let (client, _served) = service(&[&cut]).await;
    let mut process = client.exec("x", &ExecRequest::default()).await.unwrap();
    assert_eq!(
        process.next().await.unwrap(),
        ExecEvent::Stdout(b"hi".to_vec())
    );
    assert!(matches!(process.next().await, Err(ClientError::CutOff(_))));
}

#[tokio::test]
async fn a_file_that_breaks_off_is_no_shorter_file() {
    let broken = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n";
    let (client, _served) = service(&[broken]).await;
    let mut file = client.get_file("x", "/y").await.unwrap();
    assert_eq!(file.next().await.unwrap().unwrap(), "hi");
    let rest = timeout(Duration::from_secs(30), file.next()).await.unwrap();
    assert!(matches!(rest, Err(ClientError::Broken { .. })));
}
