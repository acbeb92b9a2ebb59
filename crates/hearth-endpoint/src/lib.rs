//! The data path: the endpoint of each microVM, which checks tokens, forwards requests, and resumes microVMs on
//! traffic.
//!
//! ```text
//! listener -> TLS -> HTTP/1.1 or HTTP/2 -> proxy: route, authenticate, admit, wake
//!                                            |-> upstream: free or new connection into the guest
//!                                            |-> relay:    upgraded streams
//!                                            `-> shell:    a terminal over a WebSocket
//! ```
//!
//! The crate knows neither the control plane nor the node. What it needs of them is [`Backend`]. Tokens,
//! certificates, statuses and texts follow those recorded from AWS.

#![forbid(unsafe_code)]

mod id;
mod limits;
mod settings;

mod backend;
mod private_file;
mod token;

mod authority;
mod certificates;

mod endpoint;
mod microvm_ports;
mod shared;

mod client;
mod connection;
mod framing;

mod credentials;
mod headers;
mod preflight;
mod proxy;
mod reason;
mod reply;
mod routing;

mod lock;
mod per_microvm;
mod resume;
mod traffic;

mod download;
mod meter;
mod pool;
mod upload;
mod upstream;

mod relay;
mod shell;

pub use authority::{Authority, AuthorityError, bundle_path};
pub use backend::{
    Backend, Ingress, Microvm, OpenError, ResumeError, Shell, ShellInput, State, Stream,
    TerminalSize,
};
pub use certificates::{Certificates, OwnCertificateError};
pub use endpoint::{Endpoint, EndpointError};
pub use id::{EndpointId, MicrovmId};
pub use limits::EndpointLimits;
pub use microvm_ports::MicrovmPorts;
pub use routing::ListenerRoute;
pub use settings::{Settings, Sources};
pub use token::{
    Access, Grant, IssueError, MAX_LIFETIME, OpenRingError, Token, TokenKeys, VerifyError,
};
