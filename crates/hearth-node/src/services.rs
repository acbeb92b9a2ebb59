//! Accepts streams from a guest to services of its host, on the socket that its VMM connects to for the one offered
//! port (`hearth_wire::service`).

use std::io;
use std::os::unix::fs::lchown;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hearth_wire::frame::{self, PREFIX_BYTES};
use hearth_wire::service::{
    MAX_SERVICE_OPEN_BYTES, SERVICE_PORT, SERVICE_VERSION, Service, ServiceOpen,
};
use tokio::io::AsyncReadExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::time;

use crate::socket::Address;

/// How long a guest may take to name the service of its stream.
const OPEN_LIMIT: Duration = Duration::from_secs(10);

/// Pause after an error of accept, for example for lack of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Listens for the streams of one guest.
#[derive(Debug)]
pub struct ServiceListener {
    listener: UnixListener,
    path: PathBuf,
}

impl ServiceListener {
    /// Listens beside this vsock socket, for a VMM that runs as `user` if it has a user of its own. A socket that an
    /// earlier process left there is replaced.
    ///
    /// # Errors
    ///
    /// The socket cannot be made.
    pub fn bind(vsock: &Path, user: Option<u32>) -> io::Result<Self> {
        let mut path = vsock.as_os_str().to_owned();
        path.push(format!("_{SERVICE_PORT}"));
        let path = PathBuf::from(path);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(Address::of(&path)?)?;
        // Whoever connects needs the right to write.
        lchown(&path, user, user)?;
        Ok(Self { listener, path })
    }

    /// Accepts the next stream. Nothing was read from it yet.
    pub async fn accept(&self) -> UnixStream {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => return stream,
                Err(_) => time::sleep(ACCEPT_PAUSE).await,
            }
        }
    }
}

impl Drop for ServiceListener {
    fn drop(&mut self) {
        // Gone already with its directory, most of the time.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Reads the service that a stream is for. `None` if the guest does not name one in time, in this version and in few
/// bytes.
pub async fn service_of(stream: &mut UnixStream) -> Option<Service> {
    let open = time::timeout(OPEN_LIMIT, read_open(stream)).await.ok()??;
    (open.version == SERVICE_VERSION).then_some(open.service)
}

async fn read_open(stream: &mut UnixStream) -> Option<ServiceOpen> {
    let mut prefix = [0; PREFIX_BYTES];
    stream.read_exact(&mut prefix).await.ok()?;
    let length = frame::body_length(prefix).ok()?;
    if length > MAX_SERVICE_OPEN_BYTES {
        return None;
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    frame::decode(&body).ok()
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    async fn said(bytes: &[u8]) -> Option<Service> {
        let (mut guest, mut host) = UnixStream::pair().unwrap();
        guest.write_all(bytes).await.unwrap();
        drop(guest);
        service_of(&mut host).await
    }

    #[tokio::test]
    async fn what_is_not_understood_is_not_served() {
        let open = |version, service| frame::encode(&ServiceOpen { version, service }).unwrap();
        let good = open(SERVICE_VERSION, Service::Metadata);
        assert_eq!(said(&good).await, Some(Service::Metadata));
        assert_eq!(said(&open(SERVICE_VERSION + 1, Service::Aws)).await, None);
        assert_eq!(said(&good[..good.len() - 1]).await, None);
        assert_eq!(said(&u32::MAX.to_le_bytes()).await, None);
        assert_eq!(said(&frame::encode(&vec![0_u8; 65]).unwrap()).await, None);
        assert_eq!(said(b"GET / HTTP/1.1\r\n").await, None);
    }

    #[tokio::test]
    async fn a_successor_takes_the_place_of_what_was_left() {
        let directory = tempfile::tempdir().unwrap();
        let vsock = directory.path().join("vsock.sock");
        std::mem::forget(ServiceListener::bind(&vsock, None).unwrap());
        let listener = ServiceListener::bind(&vsock, None).unwrap();
        let path = directory.path().join("vsock.sock_1025");
        let (connected, _) = tokio::join!(UnixStream::connect(&path), listener.accept());
        connected.unwrap();
        drop(listener);
        assert!(!path.exists());
    }
}
