//! Socket device (VIRTIO 1.3 section 5.10): streams between the guest's AF_VSOCK sockets and Unix
//! sockets of the host.
//!
//! The convention on the host is Firecracker's:
//! - a host process connects to the device's socket, sends `CONNECT <port>\n` and gets
//!   `OK <host port>\n` once the guest accepted, or the end of the stream if it did not;
//! - a guest that connects to host port P reaches the listener at `<socket>_<P>`.
//!
//! ```text
//!   tx queue --> Mux::on_packet --> Stream --> host socket      (written from guest memory)
//!   rx queue <-- Mux::next_output <-- Stream <-- host socket    (read into guest memory)
//! ```
//!
//! Streams live as long as this process: a pause keeps them, a snapshot does not contain them. A
//! restored guest gets TRANSPORT_RESET, and no new stream is offered to it before it has taken
//! that event: it would be dropped together with the old ones.

mod credit;
mod device;
mod mux;
mod packet;
mod queues;
mod socket;
mod stream;

pub use device::{DEFAULT_MAX_STREAMS, Vsock, VsockConfig, VsockError};
