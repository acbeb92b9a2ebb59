//! Doors of guests that are not there: a port on which a test says first which microVM it is, and of which account.
//!
//! A line `<microvm> <account> aws|metadata`, then what a guest would send.

use std::sync::Arc;

use hearth_front::{Front, GuestDoor, GuestService};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

pub(crate) async fn serve(front: Arc<Front>, listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve_one(Arc::clone(&front), stream));
    }
}

async fn serve_one(front: Arc<Front>, mut stream: TcpStream) -> Option<()> {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        line.push(stream.read_u8().await.ok()?);
    }
    let line = String::from_utf8(line).ok()?;
    let mut words = line.split_whitespace();
    let microvm = words.next()?.parse().ok()?;
    let account = words.next()?.parse().ok()?;
    let service = match words.next()? {
        "aws" => GuestService::Aws,
        _ => GuestService::Metadata,
    };
    GuestDoor::new(front, microvm, account)
        .serve(service, stream)
        .await;
    Some(())
}
