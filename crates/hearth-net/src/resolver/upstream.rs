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
use super::message::{Match, Query, Question};

/// The file with the host's name servers (resolv.conf(5)).
const FILE: &str = "/etc/resolv.conf";

/// Most servers that are asked (`MAXNS`).
const SERVERS_MAX: usize = 3;

/// How long one server may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long the file is cached.
const FRESH: Duration = Duration::from_secs(5);

/// The servers as last read.
#[derive(Debug)]
pub(super) struct Upstream {
    /// The servers that the operator chose. Empty means those in the file.
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

    /// Asks one server after the other until one answers. Returns the answer as the guest expects it.
    pub(super) async fn ask(&self, question: &Question, is_stream: bool) -> io::Result<Vec<u8>> {
        let mut last = io::Error::other(format!("{FILE} names no server"));
        for server in self.servers() {
            match time::timeout(PATIENCE, ask_server(server, question, is_stream)).await {
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

async fn ask_server(
    server: SocketAddr,
    question: &Question,
    is_stream: bool,
) -> io::Result<Vec<u8>> {
    let query = Query::of(question)?;
    if is_stream {
        return ask_by_stream(server, &query).await;
    }
    match ask_by_datagram(server, &query).await? {
        Some(answer) => Ok(answer),
        // Over TCP nobody outside can forge an answer, so the spelling is not needed.
        None => Ok(question.datagram(ask_by_stream(server, &query).await?)),
    }
}

/// Asks from a new port for each question, so that an answer is hard to forge. `None` means an answer that is right
/// except for its spelling: some servers do not keep it, but somebody may also be guessing the rest.
async fn ask_by_datagram(server: SocketAddr, query: &Query<'_>) -> io::Result<Option<Vec<u8>>> {
    let own: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((own, 0)).await?;
    socket.connect(server).await?;
    socket.send(query.message()).await?;
    let mut answer = vec![0; DATAGRAM_BYTES];
    loop {
        let length = socket.recv(&mut answer).await?;
        match query.judge(&answer[..length]) {
            Match::Answer => {
                answer.truncate(length);
                return Ok(Some(query.to_guest(answer)));
            }
            Match::Respelled => return Ok(None),
            Match::Other => {}
        }
    }
}

async fn ask_by_stream(server: SocketAddr, query: &Query<'_>) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let message = query.message();
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    stream.write_u16(length).await?;
    stream.write_all(message).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await?;
    match query.judge(&answer) {
        Match::Answer | Match::Respelled => Ok(query.to_guest(answer)),
        Match::Other => Err(io::Error::other("the name server answered something else")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question() -> Question {
        let mut message = vec![0, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        message.extend(b"\x0csome-letters\x07example\0\0\x01\0\x01");
        Question::read(message).unwrap()
    }

    /// Answers datagrams, in lower case; and over TCP as it is asked.
    async fn careless_server() -> SocketAddr {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = socket.local_addr().unwrap();
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        tokio::spawn(async move {
            let mut message = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut message).await {
                message[2] |= 0x80;
                message[12..length].make_ascii_lowercase();
                socket.send_to(&message[..length], from).await.unwrap();
            }
        });
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let length = stream.read_u16().await.unwrap();
            let mut message = vec![0; usize::from(length)];
            stream.read_exact(&mut message).await.unwrap();
            message[2] |= 0x80;
            // A mark to know it by.
            message[3] |= 0x05;
            stream.write_u16(length).await.unwrap();
            stream.write_all(&message).await.unwrap();
        });
        address
    }

    /// Finding M14: an answer that does not repeat the spelling is not believed over UDP.
    #[tokio::test]
    async fn a_server_that_respells_is_asked_over_tcp() {
        let upstream = Upstream::new(vec![careless_server().await]);
        let answer = upstream.ask(&question(), false).await.unwrap();
        assert_eq!(answer[..4], [0, 9, 0x81, 0x05]);
        assert_eq!(answer[12..25], *b"\x0csome-letters");
    }

    /// Finding M14: whoever knows the guest's question, its id and even the port cannot answer in the server's place.
    #[tokio::test]
    async fn a_forged_answer_is_not_taken() {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let upstream = Upstream::new(vec![socket.local_addr().unwrap()]);
        let asking = tokio::spawn(async move { upstream.ask(&question(), false).await });
        let mut message = [0; 512];
        let (length, from) = socket.recv_from(&mut message).await.unwrap();
        let mut answer = message[..length].to_vec();
        answer[2] |= 0x80;
        // Forged: with the guest's id, and a mark.
        let mut forged = answer.clone();
        forged[..2].copy_from_slice(&[0, 9]);
        forged[3] |= 0x03;
        // One time in 65536 the id is the guest's, and nothing is forged.
        if forged[..2] == answer[..2] {
            return;
        }
        socket.send_to(&forged, from).await.unwrap();
        socket.send_to(&answer, from).await.unwrap();
        let taken = asking.await.unwrap().unwrap();
        assert_eq!(taken[..4], [0, 9, 0x81, 0]);
    }

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
