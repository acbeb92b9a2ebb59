//! Settings that an operator may change, each with the reason for its default.

use std::net::IpAddr;
use std::time::Duration;

use hearth_http::Places;

/// Settings of the endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Connections of all clients that have not shown a valid token yet. Further ones are closed at once. Such a
    /// connection costs about 50 KiB, so the default is 200 MiB at worst.
    pub max_unproven_connections: usize,
    /// How these places are shared between source addresses.
    pub sources: Sources,
    /// The domain of endpoint names without a port. `None` if each endpoint has a port of its own. Names of microVMs
    /// below the domain get certificates of the local authority. For other names below it, the authority signs only a
    /// few per second.
    pub domain: Option<String>,
    /// How long a request above the rate, or on a connection above the limit, may wait for its turn. A page with hundreds of parts gets slow instead of
    /// failing, and a client that never stops gets an answer before it gives up.
    pub request_wait: Duration,
    /// Requests that may wait for the resume of one microVM: far more than 100 impatient clients.
    pub max_waiters: usize,
    /// How long a request may wait for a resume. Clients give up after a minute, usually.
    pub resume_time: Duration,
    /// How long a TLS handshake may take.
    pub handshake_time: Duration,
    /// How long the head of a request may take, and a connection may be without one. Ends slowloris attacks.
    pub head_time: Duration,
    /// Largest head of requests and answers. A token has up to 8000 bytes, cookies as much again.
    pub max_head_bytes: usize,
    /// Most header lines of one request, and of one answer.
    pub max_headers: usize,
    /// How long a request body may pause while no answer comes back either. Streams that are open and silent both
    /// ways are legitimate, so this limits only bodies with a stated length.
    pub upload_pause: Duration,
    /// How long opening a connection into a guest may take. It is local, so this ends waits for guests that hang.
    pub open_time: Duration,
    /// Streams of one HTTP/2 connection at one time.
    pub max_streams: u32,
    /// Flow-control window of one HTTP/2 stream: 1 MiB fills 100 Mbit/s at 80 ms, and limits what a stream can have
    /// buffered.
    pub stream_window_bytes: u32,
    /// Flow-control window of one HTTP/2 connection.
    pub connection_window_bytes: u32,
    /// How long requests in flight may take when the endpoint is stopped.
    pub drain_time: Duration,
}

/// The source addresses of connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sources {
    /// All addresses. One address gets at most an eighth of the places, except for the loopback and these (proxies),
    /// which many clients share.
    Many(Vec<IpAddr>),
    /// One address that all clients share: in the emulated host.
    One,
}

impl Sources {
    /// The places for unauthenticated connections.
    #[must_use]
    pub fn places(&self, max: usize) -> Places {
        match self {
            Self::Many(shared) => Places::new(max, shared),
            Self::One => Places::for_one_address(max),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_unproven_connections: 4096,
            sources: Sources::Many(Vec::new()),
            domain: None,
            request_wait: Duration::from_secs(30),
            max_waiters: 1024,
            resume_time: Duration::from_secs(60),
            handshake_time: Duration::from_secs(10),
            head_time: Duration::from_secs(30),
            max_head_bytes: 64 * 1024,
            max_headers: 128,
            upload_pause: Duration::from_secs(300),
            open_time: Duration::from_secs(10),
            max_streams: 128,
            stream_window_bytes: 1024 * 1024,
            connection_window_bytes: 4 * 1024 * 1024,
            drain_time: Duration::from_secs(10),
        }
    }
}
