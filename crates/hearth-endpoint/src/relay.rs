//! Copies bytes both ways, once a connection is no longer HTTP.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};

use crate::per_microvm::PerMicrovm;
use crate::traffic::Direction;

/// Buffers begin small, because most of a thousand open WebSockets are silent, and grow with the traffic.
const FIRST_BUFFER_BYTES: usize = 4 * 1024;
const MAX_BUFFER_BYTES: usize = 64 * 1024;

/// How long one direction may stay open after the other has ended. Closing a WebSocket takes one round trip.
const LINGER_TIME: Duration = Duration::from_secs(60);

/// Copies until both directions have ended, or one has failed.
pub(crate) async fn relay<C, A>(client: C, application: A, per_microvm: &PerMicrovm)
where
    C: AsyncRead + AsyncWrite,
    A: AsyncRead + AsyncWrite,
{
    let (client_reader, client_writer) = split(client);
    let (application_reader, application_writer) = split(application);
    let up = pump(
        client_reader,
        application_writer,
        per_microvm,
        Direction::Up,
    );
    let down = pump(
        application_reader,
        client_writer,
        per_microvm,
        Direction::Down,
    );
    tokio::pin!(up, down);
    tokio::select! {
        ended = &mut up => {
            if ended.is_ok() {
                let _ = tokio::time::timeout(LINGER_TIME, down).await;
            }
        }
        ended = &mut down => {
            if ended.is_ok() {
                let _ = tokio::time::timeout(LINGER_TIME, up).await;
            }
        }
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    per_microvm: &PerMicrovm,
    direction: Direction,
) -> io::Result<()> {
    let mut buffer = vec![0; FIRST_BUFFER_BYTES];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return to.shutdown().await;
        }
        let wait = per_microvm.traffic.pass(direction, count);
        to.write_all(&buffer[..count]).await?;
        to.flush().await?;
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        if count == buffer.len() && count < MAX_BUFFER_BYTES {
            buffer.resize(count * 2, 0);
        }
    }
}
