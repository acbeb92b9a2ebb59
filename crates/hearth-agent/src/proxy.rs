//! Proxy streams: carry bytes between the host and a TCP port of the guest's loopback.
//!
//! Bytes are read into the thread's shared buffer and written in the same turn of the event loop. Only bytes that the
//! other side does not take at once are kept, at most one piece for each direction. The end of one direction is passed
//! on, while the other continues.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use hearth_wire::agent::OpenReply;
use hearth_wire::frame::FrameError;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::agent::Agent;
use crate::channel::Channel;
use crate::fault::{Fault, Step};

/// Number of pieces after which a stream yields to others: a fast stream is always ready.
const PIECES_IN_A_ROW: u32 = 8;

/// Serves one stream until both directions have ended.
pub(crate) async fn serve(agent: &Agent, channel: &Channel, port: u16) -> Result<(), FrameError> {
    let _slot = match agent.slots.proxy.take() {
        Ok(slot) => slot,
        Err(refusal) => return channel.send(&OpenReply::Refused(refusal)).await,
    };
    let target = match connect(port).await {
        Ok(target) => target,
        Err(fault) => return channel.send(&OpenReply::Refused(fault.into())).await,
    };
    channel.send(&OpenReply::Ok).await?;
    pump_both(channel, &target).await
}

/// Copies both directions, each to its end.
pub(crate) async fn pump_both(one: &Channel, other: &Channel) -> Result<(), FrameError> {
    tokio::try_join!(pump(one, other), pump(other, one))?;
    Ok(())
}

/// Connects to the port, on the loopback address that it is bound to.
async fn connect(port: u16) -> Result<Channel, Fault> {
    let first = connect_to(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await;
    match first {
        Err(fault) if fault.errno == Errno::CONNREFUSED => {
            connect_to(SocketAddr::from((Ipv6Addr::LOCALHOST, port)))
                .await
                // Of two refusals the first is the one that people expect.
                .map_err(|_| fault)
        }
        connected => connected,
    }
}

async fn connect_to(address: SocketAddr) -> Result<Channel, Fault> {
    let step = || format!("connect to {address}");
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket =
        rustix::net::socket_with(family, SocketType::STREAM, flags, None).step_with(step)?;
    rustix::net::sockopt::set_tcp_nodelay(&socket, true).step_with(step)?;
    let is_pending = match rustix::net::connect(&socket, &address) {
        Ok(()) => false,
        Err(Errno::INPROGRESS) => true,
        Err(error) => return Err(Fault::new(step(), error)),
    };
    let channel = Channel::new(socket).step_with(step)?;
    if is_pending {
        channel.connected().await.step_with(step)?;
    }
    Ok(channel)
}

/// Copies one direction to its end.
async fn pump(source: &Channel, target: &Channel) -> Result<(), FrameError> {
    let mut pieces = 0_u32;
    loop {
        let piece = source.read(|bytes| Piece::pass_on(bytes, target)).await?;
        match piece {
            Piece::Passed => {}
            Piece::Kept(rest) => target.write_all(&rest).await?,
            Piece::Failed(error) => return Err(error.into()),
            Piece::End => break,
        }
        pieces += 1;
        if pieces.is_multiple_of(PIECES_IN_A_ROW) {
            tokio::task::yield_now().await;
        }
    }
    Ok(target.finish_writing()?)
}

/// The outcome of passing on one read.
enum Piece {
    /// The other side took all bytes.
    Passed,
    /// The other side has not taken these bytes yet.
    Kept(Vec<u8>),
    /// The other side has closed its connection.
    Failed(std::io::Error),
    /// The source has ended.
    End,
}

impl Piece {
    fn pass_on(bytes: &[u8], target: &Channel) -> Self {
        if bytes.is_empty() {
            return Self::End;
        }
        match target.write_now(bytes) {
            Ok(count) if count == bytes.len() => Self::Passed,
            Ok(count) => Self::Kept(bytes[count..].to_vec()),
            Err(error) => Self::Failed(error),
        }
    }
}
