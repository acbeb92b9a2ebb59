//! The host's own name servers.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time;

use super::DATAGRAM_BYTES;
use super::message::Question;

/// Where the host says whom it asks (resolv.conf(5)).
const FILE: &str = "/etc/resolv.conf";

/// More servers than these are not asked (`MAXNS`).
const SERVERS_MAX: usize = 3;

/// How long one server may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long the file counts as read.
const FRESH: Duration = Duration::from_secs(5);

/// The servers, as they were last read.
#[derive(Debug)]
pub(super) struct Upstream {
    /// What the operator chose; empty means the file.
    chosen: Vec<SocketAddr>,
    known: Mutex<Option<(Instant, Vec<SocketAddr>)>>,
}

impl Upstream {
    pub(super) fn new(chosen: Vec<SocketAddr>) -> Self {
        Self {
            chosen,
            known: Mutex::default(),
        }
    }

    /// Asks one server after the other until one answers.
    pub(super) async fn ask(
        &self,
        question: &Question,
        message: &[u8],
        is_stream: bool,
    ) -> io::Result<Vec<u8>> {
        let mut last = io::Error::other(format!("{FILE} names no server"));
        for server in self.servers() {
            let asked = async {
                if is_stream {
                    ask_by_stream(server, question, message).await
                } else {
                    ask_by_datagram(server, question, message).await
                }
            };
            match time::timeout(PATIENCE, asked).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => last = error,
                Err(_) => last = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(last)
    }

    fn servers(&self) -> Vec<SocketAddr> {
        if !self.chosen.is_empty() {
            return self.chosen.clone();
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match &*known {
            Some((read_at, servers)) if read_at.elapsed() < FRESH => servers.clone(),
            _ => {
                let servers = parse(&fs::read_to_string(FILE).unwrap_or_default());
                *known = Some((Instant::now(), servers.clone()));
                servers
            }
        }
    }
}

fn parse(text: &str) -> Vec<SocketAddr> {
    let server = |line: &str| {
        let mut words = line.split_whitespace();
        let address = (words.next() == Some("nameserver")).then(|| words.next())??;
        Some(SocketAddr::new(address.parse().ok()?, 53))
    };
    text.lines().filter_map(server).take(SERVERS_MAX).collect()
}

/// From a port of its own for each question, so that an answer is hard to forge.
async fn ask_by_datagram(
    server: SocketAddr,
    question: &Question,
    message: &[u8],
) -> io::Result<Vec<u8>> {
    let own: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((own, 0)).await?;
    socket.connect(server).await?;
    socket.send(message).await?;
    let mut answer = vec![0; DATAGRAM_BYTES];
    loop {
        let length = socket.recv(&mut answer).await?;
        if question.is_answered_by(&answer[..length]) {
            answer.truncate(length);
            return Ok(answer);
        }
    }
}

async fn ask_by_stream(
    server: SocketAddr,
    question: &Question,
    message: &[u8],
) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    stream.write_u16(length).await?;
    stream.write_all(message).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await?;
    if question.is_answered_by(&answer) {
        return Ok(answer);
    }
    Err(io::Error::other("the name server answered something else"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read_in_their_order() {
        let text = "# nameserver 9.9.9.9\nsearch x\nnameserver 192.0.2.1\nnameserver ::1\nnameserver\nnameserver x\n";
        let servers = parse(text);
        assert_eq!(
            servers,
            [
                "192.0.2.1:53".parse().unwrap(),
                "[::1]:53".parse::<SocketAddr>().unwrap()
            ]
        );
        assert_eq!(
            parse("nameserver 1.1.1.1\n".repeat(9).as_str()).len(),
            SERVERS_MAX
        );
    }
}
