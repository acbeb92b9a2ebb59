//! What an operator may change, each with the reason for its default.

use std::net::IpAddr;
use std::time::Duration;

use hearth_http::Places;

/// Settings of the data path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Connections of all clients that have shown no valid token yet; more are closed at once. Such a connection
    /// costs about 50 KiB, so the default is 200 MiB at worst.
    pub max_unproven_connections: usize,
    /// Who shares those places.
    pub sources: Sources,
    /// The domain below which endpoints have their names, without a port; none where each has a port of its own. Names of
    /// microVMs below it have certificates of the local authority; for other names it signs only so many a second.
    pub domain: Option<String>,
    /// How long a request over the rate may wait for its turn. A page with hundreds of parts is slow rather than broken;
    /// a client that never stops has its answer before it gives up by itself.
    pub request_wait: Duration,
    /// Requests that may wait for one microVM to be resumed: far more than 100 impatient clients.
    pub max_waiters: usize,
    /// How long a request may wait for a resume. Clients give up after a minute, usually.
    pub resume_time: Duration,
    /// How long a TLS handshake may take.
    pub handshake_time: Duration,
    /// How long the head of a request may take, and a connection may stay without one. Dripping heads ends here.
    pub head_time: Duration,
    /// Largest head, of requests and of answers. Tokens in it have up to 8000 bytes, cookies up to as much again.
    pub max_head_bytes: usize,
    /// Most header lines of one request, and of one answer.
    pub max_headers: usize,
    /// How long a request body may pause while nothing comes back either. Streams that are open and silent both ways are
    /// legitimate, so the clock only runs for bodies whose length was announced.
    pub upload_pause: Duration,
    /// How long opening a connection into a guest may take; it is local, so this is for guests that hang.
    pub open_time: Duration,
    /// Streams of one HTTP/2 connection.
    pub max_streams: u32,
    /// Window of one HTTP/2 stream: 1 MiB fills 100 Mbit/s at 80 ms, and bounds what a stream can make us keep.
    pub stream_window_bytes: u32,
    /// Window of one HTTP/2 connection.
    pub connection_window_bytes: u32,
    /// How long requests in flight may take when the endpoint is told to stop.
    pub drain_time: Duration,
}

/// Where connections come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sources {
    /// From everywhere: one address has an eighth of the places at most, except for these and the loopback. Behind them
    /// are many clients (proxies).
    Many(Vec<IpAddr>),
    /// All from one address, behind which all clients are: in the emulated host.
    One,
}

impl Sources {
    /// So many places.
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
