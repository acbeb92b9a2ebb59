//! One microVM in memory, with an endpoint before it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use hearth_endpoint::{
    Access, Authority, Backend, Certificates, Endpoint, EndpointId, EndpointLimits, Grant, Ingress,
    ListenerRoute, Microvm, MicrovmId, OpenError, ResumeError, Settings, Shell, ShellInput, State,
    Stream, TerminalSize, TokenKeys,
};
use rustls::pki_types::CertificateDer;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use uuid::Uuid;

/// What the tests may turn on the rest of Hearth.
pub(crate) struct Guest {
    pub(crate) microvm: Mutex<Microvm>,
    pub(crate) endpoint: EndpointId,
    /// Where the ports of the guest really are.
    pub(crate) ports: Mutex<HashMap<u16, SocketAddr>>,
    /// How often the endpoint looked the microVM up.
    pub(crate) lookups: AtomicUsize,
    pub(crate) resumes: AtomicUsize,
    /// Answers to requests that had to wait for a resume.
    pub(crate) first_bytes: AtomicUsize,
    pub(crate) resume_fails: Mutex<bool>,
    /// A resume waits for this.
    pub(crate) may_resume: Notify,
    pub(crate) opened: AtomicUsize,
    pub(crate) falls_asleep_at_next_open: AtomicBool,
    pub(crate) touched: AtomicU64,
    pub(crate) shell_input: Mutex<Vec<ShellInput>>,
}

impl Guest {
    pub(crate) fn set(&self, change: impl FnOnce(&mut Microvm)) {
        change(&mut self.microvm.lock().unwrap());
    }

    pub(crate) fn id(&self) -> MicrovmId {
        self.microvm.lock().unwrap().id
    }
}

#[async_trait::async_trait]
impl Backend for Guest {
    async fn find(&self, endpoint: EndpointId) -> Option<Microvm> {
        self.lookups.fetch_add(1, Ordering::SeqCst);
        (endpoint == self.endpoint).then(|| self.microvm.lock().unwrap().clone())
    }

    async fn resume(&self, _: MicrovmId) -> Result<(), ResumeError> {
        self.resumes.fetch_add(1, Ordering::SeqCst);
        self.may_resume.notified().await;
        if *self.resume_fails.lock().unwrap() {
            return Err(ResumeError("told to".into()));
        }
        self.set(|microvm| {
            microvm.state = State::Running;
            microvm.epoch += 1;
        });
        Ok(())
    }

    async fn open(&self, _: MicrovmId, port: u16) -> Result<Box<dyn Stream>, OpenError> {
        self.opened.fetch_add(1, Ordering::SeqCst);
        if self.falls_asleep_at_next_open.swap(false, Ordering::SeqCst) {
            self.set(|microvm| microvm.state = State::Suspended);
        }
        if self.microvm.lock().unwrap().state != State::Running {
            return Err(OpenError::Unreachable("asleep".into()));
        }
        let address = self
            .ports
            .lock()
            .unwrap()
            .get(&port)
            .copied()
            .ok_or(OpenError::Refused)?;
        let stream = TcpStream::connect(address)
            .await
            .map_err(|_| OpenError::Refused)?;
        Ok(Box::new(stream))
    }

    /// A shell that shows what is typed, and exits at Ctrl-D.
    async fn shell(&self, _: MicrovmId, size: TerminalSize) -> Result<Shell, OpenError> {
        let (show, output) = mpsc::channel(8);
        let (input, mut typed) = mpsc::channel(8);
        self.shell_input
            .lock()
            .unwrap()
            .push(ShellInput::Resize(size));
        tokio::spawn(async move {
            while let Some(did) = typed.recv().await {
                let shown = match did {
                    ShellInput::Bytes(bytes) if bytes == "\u{4}" => return,
                    ShellInput::Bytes(bytes) => bytes,
                    ShellInput::Resize(size) => Bytes::from(format!("{}x{}", size.cols, size.rows)),
                };
                if show.send(shown).await.is_err() {
                    return;
                }
            }
        });
        Ok(Shell { output, input })
    }

    fn first_byte(&self, _: MicrovmId) {
        self.first_bytes.fetch_add(1, Ordering::SeqCst);
    }

    fn touched(&self, _: MicrovmId, bytes: u64) {
        self.touched.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// An endpoint with one microVM behind it.
pub(crate) struct Rig {
    pub(crate) guest: Arc<Guest>,
    pub(crate) keys: Arc<TokenKeys>,
    pub(crate) authority: CertificateDer<'static>,
    /// The microVM's own port.
    pub(crate) own: SocketAddr,
    /// The port that all microVMs share.
    pub(crate) shared: SocketAddr,
    _directory: TempDir,
    pub(crate) server: Endpoint,
    pub(crate) stop: watch::Sender<bool>,
    /// The tasks of the two listeners.
    pub(crate) tasks: Vec<JoinHandle<()>>,
}

impl Rig {
    pub(crate) async fn new() -> Self {
        Self::with(Settings::default()).await
    }

    pub(crate) async fn with(settings: Settings) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::open(directory.path()).unwrap();
        let trusted = authority.certificate().clone();
        let keys = TokenKeys::open(&directory.path().join("keys"), SystemTime::now()).unwrap();
        let keys = Arc::new(keys);
        let guest = Arc::new(guest());
        let server = Endpoint::new(
            settings,
            Arc::clone(&guest) as Arc<dyn Backend>,
            Arc::clone(&keys),
            &Arc::new(Certificates::new(authority, &[]).unwrap()),
        )
        .unwrap();
        let (stop, stopped) = watch::channel(false);
        let (mut addresses, mut tasks) = (Vec::new(), Vec::new());
        for route in [ListenerRoute::Own(guest.endpoint), ListenerRoute::Shared] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            addresses.push(listener.local_addr().unwrap());
            let (endpoint, stopped) = (server.clone(), stopped.clone());
            let serving = async move { endpoint.serve(listener, route, stopped).await };
            tasks.push(tokio::spawn(serving));
        }
        Self {
            guest,
            keys,
            authority: trusted,
            own: addresses[0],
            shared: addresses[1],
            _directory: directory,
            server,
            stop,
            tasks,
        }
    }

    /// Puts an application behind a port of the guest.
    pub(crate) fn put(&self, port: u16, address: SocketAddr) {
        self.guest.ports.lock().unwrap().insert(port, address);
    }

    pub(crate) fn token(&self) -> String {
        self.token_for(0..=u16::MAX)
    }

    pub(crate) fn token_for(&self, ports: RangeInclusive<u16>) -> String {
        self.issue(Access::Ports(vec![ports]))
    }

    pub(crate) fn shell_token(&self) -> String {
        self.issue(Access::Shell)
    }

    fn issue(&self, access: Access) -> String {
        let grant = Grant {
            microvm: self.guest.id(),
            access,
        };
        let token = self
            .keys
            .issue(&grant, Duration::from_secs(60), SystemTime::now())
            .unwrap();
        token.reveal().to_owned()
    }
}

fn guest() -> Guest {
    let microvm = Microvm {
        id: MicrovmId(Uuid::new_v4()),
        epoch: 0,
        state: State::Running,
        auto_resume: true,
        ingress: Ingress {
            http: true,
            shell: false,
            preflights: false,
        },
        limits: EndpointLimits::NONE,
    };
    Guest {
        microvm: Mutex::new(microvm),
        endpoint: EndpointId(Uuid::new_v4()),
        ports: Mutex::default(),
        lookups: AtomicUsize::new(0),
        resumes: AtomicUsize::new(0),
        first_bytes: AtomicUsize::new(0),
        resume_fails: Mutex::new(false),
        may_resume: Notify::new(),
        opened: AtomicUsize::new(0),
        falls_asleep_at_next_open: AtomicBool::new(false),
        touched: AtomicU64::new(0),
        shell_input: Mutex::default(),
    }
}
