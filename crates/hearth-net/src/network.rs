//! The network of one host: its rules, its slots, and the name server of its guests.

use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::addresses::{HOST, HOST_LINKS, SLOTS};
use crate::answered_set::AnsweredSet;
use crate::egress::{Egress, Names};
use crate::error::{NetworkError, SetupStep, failed};
use crate::resolver::Resolver;
use crate::slot::{self, Slot};
use crate::{namespace, nft, rules};

/// Slots that are kept ready: creating one takes longer than all the rest of a launch.
const POOL: usize = 24;

/// If more than this many are left, new ones are created only when launches pause: creating them beside a launch
/// slows it.
const POOL_LOW: usize = 8;

/// How long no launch must come to count as a pause.
const PAUSE: Duration = Duration::from_millis(500);

/// Options of a host's network.
#[derive(Debug, Clone)]
pub struct NetworkOptions {
    /// The file that stores the name server's port, so that guests that run already find it again.
    pub state: PathBuf,
    /// The name servers that guests' questions are forwarded to. Empty means the servers in the host's
    /// `/etc/resolv.conf`.
    pub name_servers: Vec<SocketAddr>,
}

/// The networks of all microVMs of a host. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Network {
    shared: Arc<Shared>,
    _filler: Arc<Filler>,
}

#[derive(Debug)]
struct Shared {
    resolver: Resolver,
    ready: Mutex<Vec<Slot>>,
    wanted: Notify,
    next: AtomicU16,
}

/// The task that keeps the pool full. Ends with the last [`Network`].
#[derive(Debug)]
struct Filler(JoinHandle<()>);

impl Drop for Filler {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Network {
    /// Prepares the host, and creates the first slots.
    ///
    /// # Errors
    ///
    /// What this host lacks, and what to do.
    pub async fn start(options: NetworkOptions) -> Result<Self, NetworkError> {
        check_host()?;
        prepare_host().await?;
        let port = read_port(&options.state)?;
        let resolver = Resolver::start(port, options.name_servers).await;
        let resolver = resolver.map_err(failed(SetupStep::Resolver))?;
        write_port(&options.state, resolver.port())?;
        let shared = Arc::new(Shared {
            resolver,
            ready: Mutex::default(),
            wanted: Notify::new(),
            next: AtomicU16::new(SLOTS.start),
        });
        let filler = Filler(tokio::spawn(Arc::clone(&shared).fill()));
        Ok(Self {
            shared,
            _filler: Arc::new(filler),
        })
    }

    /// Takes a slot and sets its egress. The slot disappears when it is dropped and no process lives in it.
    pub async fn take(&self, egress: &Egress) -> Result<Slot, NetworkError> {
        let slot = self.shared.pop();
        self.shared.wanted.notify_one();
        let slot = match slot {
            Some(slot) => slot,
            None => self.shared.make().await?,
        };
        if *egress != Egress::internet() {
            let (namespace, text) = (duplicate(&slot.namespace)?, rules::egress(egress));
            blocking(move || namespace::within(&namespace, || nft::apply(&text)))
                .await
                .map_err(failed(SetupStep::Rules))?;
        }
        self.admit(slot.number, egress, &slot.namespace)?;
        Ok(slot)
    }

    /// Waits until the pool of slots is full.
    pub async fn settled(&self) {
        const LOOK: Duration = Duration::from_millis(5);
        while self.shared.left() < POOL {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Takes over the guest of a process that has lived in a slot since before this start.
    pub fn adopt(&self, slot: u16, pid: u32, egress: &Egress) -> Result<(), NetworkError> {
        let namespace = File::open(format!("/proc/{pid}/ns/net"));
        let namespace = OwnedFd::from(namespace.map_err(failed(SetupStep::Namespace))?);
        self.admit(slot, egress, &namespace)
    }

    fn admit(&self, slot: u16, egress: &Egress, own: &OwnedFd) -> Result<(), NetworkError> {
        let set = match egress.names {
            Names::Listed(_) => Some(
                namespace::within(own, AnsweredSet::open).map_err(failed(SetupStep::Namespace))?,
            ),
            Names::None | Names::All => None,
        };
        let names = egress.names.clone();
        self.shared.resolver.admit(slot, names, set);
        Ok(())
    }

    /// Removes the guest of a slot.
    pub fn release(&self, slot: u16) {
        self.shared.resolver.dismiss(slot);
    }
}

impl Shared {
    fn pop(&self) -> Option<Slot> {
        self.ready
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop()
    }

    fn left(&self) -> usize {
        self.ready
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    async fn fill(self: Arc<Self>) {
        // No launch has come yet.
        let mut is_pause = true;
        loop {
            if self.left() >= POOL {
                self.wanted.notified().await;
                is_pause = false;
                continue;
            }
            if self.left() > POOL_LOW {
                let more = if is_pause { Duration::ZERO } else { PAUSE };
                is_pause = tokio::time::timeout(more, self.wanted.notified())
                    .await
                    .is_err();
                if !is_pause {
                    continue;
                }
            }
            match self.make().await {
                Ok(slot) => self
                    .ready
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(slot),
                Err(error) => {
                    // The launch that takes a slot creates it itself, and gets the error.
                    tracing::warn!(%error, "cannot prepare a network slot; the next launch tries again");
                    self.wanted.notified().await;
                }
            }
        }
    }

    async fn make(&self) -> Result<Slot, NetworkError> {
        let port = self.resolver.port();
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let made = tokio::task::spawn_blocking(move || slot::make(first, port));
        made.await
            .map_err(|error| failed(SetupStep::Namespace)(io::Error::other(error)))?
    }
}

fn check_host() -> Result<(), NetworkError> {
    if !rustix::process::geteuid().is_root() {
        return Err(NetworkError::NotRoot);
    }
    if !fs::exists(nft::PROGRAM).unwrap_or(false) {
        return Err(NetworkError::NoNftables);
    }
    if !fs::exists("/dev/net/tun").unwrap_or(false) {
        return Err(NetworkError::NoTun);
    }
    Ok(())
}

async fn prepare_host() -> Result<(), NetworkError> {
    const FORWARDING: &str = "net/ipv4/ip_forward";
    blocking(|| nft::apply(&rules::host()))
        .await
        .map_err(failed(SetupStep::Rules))?;
    let forwarding = fs::read_to_string(format!("/proc/sys/{FORWARDING}"));
    if forwarding.map_err(failed(SetupStep::Forwarding))?.trim() != "1" {
        tracing::warn!(
            "switching on net.ipv4.ip_forward: guests reach the internet through this host"
        );
        slot::set(FORWARDING, "1").map_err(failed(SetupStep::Forwarding))?;
    }
    let links = slot::connect()?;
    let loopback = slot::index_of("lo")?;
    slot::add_address(&links, loopback, HOST, 32).await
}

/// Removes what all Hearths on this host share: the table of rules, and the address of the name server. No-op while a
/// microVM of any of them lives. Forwarding stays on, because other programs may rely on it by now.
///
/// # Errors
///
/// The error of the kernel.
pub async fn leave_host() -> Result<(), NetworkError> {
    // A host on which nothing could be created has nothing to remove.
    if check_host().is_err() || are_links_there().await? {
        return Ok(());
    }
    blocking(|| nft::apply(rules::NO_HOST))
        .await
        .map_err(failed(SetupStep::Rules))?;
    let links = slot::connect()?;
    slot::remove_address(&links, slot::index_of("lo")?, HOST, 32).await
}

/// Whether a slot exists. The kernel takes a moment to remove a slot whose last process has ended.
async fn are_links_there() -> Result<bool, NetworkError> {
    const TRIES: u32 = 20;
    const PAUSE: Duration = Duration::from_millis(100);
    for _ in 0..TRIES {
        let links = nix::net::if_::if_nameindex();
        let links = links.map_err(|errno| failed(SetupStep::Links)(errno.into()))?;
        let is_ours = |link: &nix::net::if_::Interface| {
            link.name().to_bytes().starts_with(HOST_LINKS.as_bytes())
        };
        if !links.iter().any(is_ours) {
            return Ok(false);
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(true)
}

fn read_port(state: &Path) -> Result<Option<u16>, NetworkError> {
    match fs::read_to_string(state) {
        Ok(text) => Ok(text.trim().parse().ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(state_error(state, source)),
    }
}

fn write_port(state: &Path, port: u16) -> Result<(), NetworkError> {
    fs::write(state, format!("{port}\n")).map_err(|source| state_error(state, source))
}

fn state_error(path: &Path, source: io::Error) -> NetworkError {
    NetworkError::State {
        path: PathBuf::from(path),
        source,
    }
}

fn duplicate(namespace: &OwnedFd) -> Result<OwnedFd, NetworkError> {
    let duplicate = namespace.as_fd().try_clone_to_owned();
    duplicate.map_err(failed(SetupStep::Namespace))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?
}
