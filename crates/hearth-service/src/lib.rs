//! What `hearth up` runs: everything of one host, put together.
//!
//! ```text
//!   Front (AWS's API)      Endpoint (traffic)
//!        |                     |  backend.rs: where a microVM is, a stream into it, waking it
//!        +----- Control -------+
//!                  |  host.rs: the control plane's `Node` over this host
//!       hearth-node (VMM processes)    hearth-image (root file systems)
//! ```
//!
//! The parts know nothing of each other; this crate is the only place that knows them all. It decides nothing
//! about resources and speaks no protocol of its own.

#![forbid(unsafe_code)]

mod client_settings;
mod clock;
mod config;
#[cfg(debug_assertions)]
mod doom;
mod platform;
mod reserve;
mod service;
mod tls;

mod host;
mod housekeeping;

mod activity;
mod application;
mod artifact;
mod build;
mod external_s3;
mod hook;
mod memory;
mod monitor;
mod openings;
mod output;

mod backend;
mod doors;
mod guest_services;
mod guests;
mod paced;
mod patience;
mod shell;
mod tokens;

mod secret_file;

pub use client_settings::ClientSettings;
pub use config::{
    EndpointConfig, Hosting, NetworkConfig, OwnCertificate, RuleSets, ServiceConfig, TlsConfig,
};
pub use external_s3::ExternalS3;
pub use service::{Service, ServiceError};
