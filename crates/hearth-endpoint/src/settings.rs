//! What an operator may change, each with the reason for its default.

use std::time::Duration;

/// Settings of the data path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Connections of all clients that have shown no valid token yet; more are closed at once. Such a connection
    /// costs about 50 KiB, so the default is 200 MiB at worst.
    pub max_unproven_connections: usize,
    /// Requests that may wait for one microVM to be resumed: far more than 100 impatient clients.
    pub max_waiters: usize,
    /// How long a request may wait for a resume. Clients give up after a minute, usually.
    pub resume_time: Duration,
    /// How long a TLS handshake may take.
    pub handshake_time: Duration,
    /// How long the head of a request may take, and a connection may stay without one. Dripping heads ends here.
    pub head_time: Duration,
    /// Largest head. Tokens in it have up to 8000 bytes, cookies up to as much again.
    pub max_head_bytes: usize,
    /// Most header lines of one request.
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

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_unproven_connections: 4096,
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
