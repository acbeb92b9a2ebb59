//! The AWS-compatible HTTP surface: what boto3, the AWS CLI and the SDKs talk to.
//!
//! ```text
//!  client -> server   limits of connections, heads and time; TLS
//!         -> front    request id, service by SigV4 scope, signature, body, audit
//!  guest  -> guest    the same for the services that guests may ask, and instance metadata
//!         -> lambda   lambda, lambda-microvms and lambda-core: REST-JSON along the service models
//!            logs     CloudWatch Logs: JSON 1.1 over hearth-logs
//!            sts, iam query protocol
//!            s3       `s3s` over hearth-objects
//!            operations, accounts  Hearth's own, under /hearth/v1
//!         -> hearth-control
//! ```
//!
//! The crate speaks the protocols of AWS. The control plane decides about resources; the front decides nothing about
//! them.

#![forbid(unsafe_code)]

mod server;

mod audit;
mod blocking_calls;
mod body;
mod call;
mod control_metrics;
mod front;
mod guest;
mod guest_door;
mod identity;
mod keys;
mod known_hosts;
mod memory_shares;
mod metrics;
mod metrics_listener;
mod metrics_page;
mod operator;
mod policy;
mod route;
mod sigv4;

mod aws_strings;
mod fault;
mod model;
mod upload_body;
mod wire;

mod accounts;
mod connectors;
mod disks;
mod endpoint_tokens;
mod function_service;
mod functions;
mod guests;
mod iam;
mod invocations;
mod lambda;
mod logs;
mod microvms;
mod operations;
mod s3;
mod sts;

mod build;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;

use hearth_sigv4::uri;

pub use audit::AuditLog;
pub use build::{FrontConfig, FrontError};
pub use control_metrics::ControlMetrics;
pub use disks::{Disks, Holding, HoldingKind};
pub use endpoint_tokens::{Access, EndpointTokens, Grant, MintError};
pub use front::Front;
pub use guest_door::{GuestDoor, GuestService};
pub use guests::{
    Command, FileContent, GuestError, Guests, Input, LogStreamName, ProcessInput, ProcessOutput,
    TerminalSize,
};
pub use identity::SessionKey;
pub use invocations::{FunctionKeys, FunctionLogs, FunctionSource, Invocations};
pub use keys::Keys;
pub use known_hosts::KnownHosts;
pub use lambda::page::PageTokens;
pub use memory_shares::MemoryShares;
pub use metrics::FrontMetrics;
pub use metrics_listener::serve_metrics;
pub use metrics_page::MetricsPage;
pub use server::{ServeError, Transport, serve};
pub use sigv4::SignatureError;
