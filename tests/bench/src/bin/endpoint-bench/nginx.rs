//! nginx before the application, set up as its documentation advises for a proxy whose connections are kept.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::client::Subject;

/// How long it may take until it listens.
const START_LIMIT: Duration = Duration::from_secs(10);

/// A running nginx; it ends with this value.
pub(crate) struct Nginx {
    address: SocketAddr,
    certificate_pem: String,
    process: Child,
    _directory: TempDir,
}

impl Nginx {
    pub(crate) fn start(program: &Path, application: u16) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let own = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()])?;
        fs::write(
            directory.path().join("key.pem"),
            own.signing_key.serialize_pem(),
        )?;
        fs::write(directory.path().join("certificate.pem"), own.cert.pem())?;
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let configuration = directory.path().join("nginx.conf");
        let text = text(directory.path(), address, application);
        fs::write(&configuration, text)?;
        let process = Command::new(program)
            .arg("-c")
            .arg(&configuration)
            .arg("-p")
            .arg(directory.path())
            .args(["-e", "stderr"])
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot run {}", program.display()))?;
        let mut nginx = Self {
            address,
            certificate_pem: own.cert.pem(),
            process,
            _directory: directory,
        };
        nginx.wait_until_listening()?;
        Ok(nginx)
    }

    fn wait_until_listening(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        while TcpStream::connect(self.address).is_err() {
            if let Some(status) = self.process.try_wait()? {
                bail!("nginx ended with {status}");
            }
            if Instant::now() > deadline {
                bail!("nginx does not listen");
            }
            sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    pub(crate) fn subject(&self) -> Result<Subject> {
        let trusted = self.certificate_pem.as_bytes();
        Subject::over_tls("nginx", self.address, trusted, Vec::new())
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // The master ends its workers on SIGTERM and leaves them on SIGKILL.
        let pid = self.process.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        let _ = self.process.wait();
    }
}

/// Both HTTP versions, connections to the application kept, nothing written to disk on the way, and one that stays open for all
/// that is asked of it.
fn text(directory: &Path, address: SocketAddr, application: u16) -> String {
    let directory = directory.display();
    format!(
        "daemon off;
pid {directory}/pid;
error_log stderr;
worker_processes auto;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    keepalive_requests 1000000000;
    client_max_body_size 0;
    tcp_nodelay on;
    upstream application {{
        server 127.0.0.1:{application};
        keepalive 128;
        keepalive_requests 1000000000;
    }}
    server {{
        listen {address} ssl http2;
        ssl_certificate {directory}/certificate.pem;
        ssl_certificate_key {directory}/key.pem;
        location / {{
            proxy_pass http://application;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_set_header Host $http_host;
            proxy_request_buffering off;
            proxy_max_temp_file_size 0;
        }}
    }}
}}
"
    )
}
