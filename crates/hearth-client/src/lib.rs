//! A small client of the APIs that Hearth serves.
//!
//! It sends the requests of an AWS client (signed with Signature Version 4, to `lambda-microvms`, `lambda`, S3,
//! CloudWatch Logs, IAM and STS), those of Hearth's own operations, and requests to the endpoints of microVMs. Answers
//! stay JSON: the command line prints the service's own answer with `--json`.
//!
//! ```text
//! Client ── signed HTTP ──> the API        images, microvms, guests, functions, invocations, objects, logs, ...
//!    └───── TLS, token ───> an endpoint    endpoint, shell
//! ```
//!
//! The AWS SDKs would do for most of it, at the price of some two hundred crates.

#![forbid(unsafe_code)]

mod accounts;
mod by_hand;
mod client;
mod connection;
mod disks;
mod error;
mod settings;

mod endpoint;
mod exec;
mod functions;
mod guests;
mod identity;
mod images;
mod invocations;
mod logs;
mod microvms;
mod objects;
mod payload;
mod raw;
mod roles;
mod shell;

pub use by_hand::Head;
pub use client::Client;
pub use connection::{Address, Connector, Stream};
pub use endpoint::EndpointRequest;
pub use error::{ClientError, Refusal};
pub use exec::{ExecEvent, ExecHandle, ExecRequest, ExecSender};
pub use functions::FunctionCode;
pub use guests::FileContent;
pub use hearth_sigv4::uri::encode;
pub use hearth_sigv4::{UNSIGNED_PAYLOAD, payload_hash};
pub use invocations::{InvokeAnswer, InvokeRequest, InvokeWait};
pub use logs::{LogEvent, LogQuery};
pub use objects::ObjectContent;
pub use payload::Payload;
pub use raw::{RawAnswer, RawRequest};
pub use settings::Settings;
pub use shell::{Shell, ShellOutput, ShellSender};
