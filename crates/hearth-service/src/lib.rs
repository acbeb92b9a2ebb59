//! What `hearth up` runs: everything of one host, put together.
//!
//! ```text
//!   Front (AWS's API)      Endpoint (traffic)
//!        |                     |  backend.rs: where a microVM is, a stream into it, waking it
//!        +----- Control -------+
//!                  |  its seam to everything that runs a process
//!             hearth-host
//! ```
//!
//! The parts do not know each other; this crate is the only place that knows them all. It decides nothing about
//! resources and speaks no protocol of its own.

#![forbid(unsafe_code)]

mod client_settings;
mod clock;
mod config;
mod disk_reserve;
mod error;
mod platform;
mod service;
mod tls;
mod write_crash_point;

mod housekeeping;

mod activity;
mod backend;
mod disks;
mod endpoint_ports;
mod guest_services;
mod guests;
mod invocations;
mod memory;
mod rate_limited_stream;
mod shell;
mod tokens;

mod secret_file;

pub use client_settings::ClientSettings;
pub use config::{
    EndpointConfig, Hosting, NetworkConfig, OwnCertificate, ServiceConfig, TlsConfig,
};
pub use error::ServiceError;
pub use hearth_host::{ExternalS3, RegistryLogin, RegistryLogins, RuleSet, RuleSets, ShortMemory};
pub use service::{LEAST_MEMORY_BYTES, Service, lock};
