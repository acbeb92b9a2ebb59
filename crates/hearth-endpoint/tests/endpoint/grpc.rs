//! What gRPC needs: HTTP/2 through and through, streaming both ways, trailers.

use bytes::Bytes;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::Request;
use hyper::body::Frame;
use tokio::sync::mpsc;

use crate::application::{self, Speech};
use crate::client::http2;
use crate::rig::Rig;

async fn rig() -> Rig {
    let rig = Rig::new().await;
    rig.put(8080, application::start(Speech::Http2).await);
    rig
}

fn call(rig: &Rig) -> hyper::http::request::Builder {
    Request::post(format!("https://{}/trailers", rig.own))
        .header("x-aws-proxy-auth", rig.token())
        .header("content-type", "application/grpc+proto")
        .header("te", "trailers")
}

#[tokio::test]
async fn trailers_arrive() {
    let rig = rig().await;
    let mut client = http2::<Full<Bytes>>(&rig).await;
    let request = call(&rig).body(Full::from("message")).unwrap();
    let answer = client.send_request(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    let body = answer.into_body().collect().await.unwrap();
    assert_eq!(body.trailers().unwrap()["grpc-status"], "0");
    assert_eq!(body.to_bytes(), "message");
}

#[tokio::test]
async fn messages_alternate() {
    let rig = rig().await;
    let (say, heard) = mpsc::channel::<Result<Frame<Bytes>, std::convert::Infallible>>(1);
    let heard = futures_util::stream::unfold(heard, |mut heard| async {
        heard.recv().await.map(|frame| (frame, heard))
    });
    let mut client = http2(&rig).await;
    let request = call(&rig).body(StreamBody::new(Box::pin(heard))).unwrap();
    let mut answer = client.send_request(request).await.unwrap().into_body();
    for number in 0..10 {
        let message = Bytes::from(format!("message {number}"));
        say.send(Ok(Frame::data(message.clone()))).await.unwrap();
        let frame = answer.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), message);
    }
    drop(say);
    let trailers = answer
        .frame()
        .await
        .unwrap()
        .unwrap()
        .into_trailers()
        .unwrap();
    assert_eq!(trailers["grpc-status"], "0");
}
