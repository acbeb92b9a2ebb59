//! The endpoint of one microVM without a virtual machine, for real clients (`tests/clients`) and for the benchmark: what
//! would be ports of a guest are those of this host's loopback.
//!
//! Prints one JSON line with its address, the bundle that clients trust and a token for every port, and serves until its
//! standard input ends.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use hearth_endpoint::{
    Access, Authority, Backend, Certificates, Endpoint, EndpointId, EndpointLimits, Grant, Ingress,
    ListenerRoute, MAX_LIFETIME, Microvm, MicrovmId, OpenError, ResumeError, Settings, Shell,
    State, Stream, TerminalSize, TokenKeys, bundle_path,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use uuid::Uuid;

/// A microVM that always runs.
struct Loopback(Microvm);

#[async_trait::async_trait]
impl Backend for Loopback {
    async fn find(&self, _: EndpointId) -> Option<Microvm> {
        Some(self.0.clone())
    }

    async fn resume(&self, _: MicrovmId) -> Result<(), ResumeError> {
        Ok(())
    }

    async fn open(&self, _: MicrovmId, port: u16) -> Result<Box<dyn Stream>, OpenError> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await;
        let stream = stream.map_err(|_| OpenError::Refused)?;
        stream
            .set_nodelay(true)
            .map_err(|error| OpenError::Unreachable(Box::new(error)))?;
        Ok(Box::new(stream))
    }

    async fn shell(&self, _: MicrovmId, _: TerminalSize) -> Result<Shell, OpenError> {
        Err(OpenError::Refused)
    }

    fn first_byte(&self, _microvm: MicrovmId) {}

    fn touched(&self, _: MicrovmId, _: u64) {}
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::args().nth(1).map(PathBuf::from);
    let directory = directory.ok_or("usage: dev_endpoint DIRECTORY")?;
    let microvm = Microvm {
        id: MicrovmId(Uuid::new_v4()),
        epoch: 0,
        state: State::Running,
        auto_resume: false,
        ingress: Ingress {
            http: true,
            shell: false,
            preflights: false,
        },
        limits: EndpointLimits::NONE,
    };
    let keys = TokenKeys::open(&directory.join("keys"), SystemTime::now())?;
    let grant = Grant {
        microvm: microvm.id,
        access: Access::Ports(vec![0..=u16::MAX]),
    };
    let token = keys.issue(&grant, MAX_LIFETIME, SystemTime::now())?;
    let certificates = Arc::new(Certificates::new(Authority::open(&directory)?, &[])?);
    let endpoint = Endpoint::new(
        Settings::default(),
        Arc::new(Loopback(microvm)),
        Arc::new(keys),
        &certificates,
    )?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let announced = serde_json::json!({
        "endpoint": listener.local_addr()?.to_string(),
        "ca_bundle": bundle_path(&directory),
        "token": token.reveal(),
    });
    println!("{announced}");
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        stdin_end().await;
        let _ = stop.send(true);
    });
    let route = ListenerRoute::Own(EndpointId(Uuid::new_v4()));
    endpoint.serve(listener, route, stopped).await;
    Ok(())
}

async fn stdin_end() {
    // A thread that waits for the parent; it ends with the process.
    let _ =
        tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()))
            .await;
}
