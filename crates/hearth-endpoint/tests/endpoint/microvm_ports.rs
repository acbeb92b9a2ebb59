//! Ports that come and go, and an endpoint that stops.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use hearth_endpoint::{EndpointId, MicrovmPorts};
use hyper::Request;
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

use crate::application::{self, Speech};
use crate::client::{Answer, http1};
use crate::rig::Rig;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

async fn free_port() -> u16 {
    TcpListener::bind((LOOPBACK, 0))
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

async fn is_open(port: u16) -> bool {
    TcpStream::connect((LOOPBACK, port)).await.is_ok()
}

async fn status(rig: &mut Rig, port: u16) -> u16 {
    rig.own = SocketAddr::new(LOOPBACK, port);
    crate::client::get_in(rig, "/seen").await.status.as_u16()
}

#[tokio::test]
async fn open_ports_follow_what_is_wanted() {
    let mut rig = Rig::new().await;
    rig.put(8080, application::start(Speech::Http1).await);
    let mut ports = MicrovmPorts::new(rig.server.clone(), LOOPBACK);
    let (one, two) = (free_port().await, free_port().await);
    let known = rig.guest.endpoint;
    let unknown = EndpointId(Uuid::new_v4());

    assert!(
        ports
            .reconcile(&HashMap::from([(one, known), (two, unknown)]))
            .await
            .is_empty()
    );
    assert_eq!(status(&mut rig, one).await, 200);
    assert_eq!(status(&mut rig, two).await, 403);

    // A port may be given to another microVM, once the old listener has gone.
    let wanted = HashMap::from([(two, known)]);
    while !ports.reconcile(&wanted).await.is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(status(&mut rig, two).await, 200);
    assert!(!is_open(one).await);

    let taken = TcpListener::bind((LOOPBACK, one)).await.unwrap();
    let failed = ports
        .reconcile(&HashMap::from([(one, known), (two, known)]))
        .await;
    assert_eq!(
        failed.iter().map(|(port, _)| *port).collect::<Vec<_>>(),
        [one]
    );
    drop(taken);
    ports.close().await;
    assert!(!is_open(two).await);
}

#[tokio::test]
async fn requests_in_flight_finish_when_the_endpoint_stops() {
    let mut rig = Rig::new().await;
    rig.put(8080, application::start(Speech::Http1).await);
    let mut client = http1::<String>(&rig).await;
    let request = Request::get("/source/8000000")
        .header("host", "a")
        .header("x-aws-proxy-auth", rig.token())
        .body(String::new())
        .unwrap();
    let answer = client.send_request(request).await.unwrap();
    rig.stop.send(true).unwrap();
    let answer = Answer::read(answer).await;
    assert_eq!(answer.status, 200);
    drop(client);
    for task in rig.tasks.drain(..) {
        tokio::time::timeout(Duration::from_secs(8), task)
            .await
            .unwrap()
            .unwrap();
    }
    assert!(!is_open(rig.own.port()).await);
}
