//! The data path end to end: real TLS sockets on loopback, real HTTP clients, applications in this process, and the
//! rest of Hearth in memory.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod application;
mod client;
mod rig;

mod grpc;
mod guest;
mod hostile;
mod http;
mod latency;
mod limits;
mod microvm_ports;
mod preflight;
mod shell;
mod tokens;
mod transfer;
mod waking;
mod websocket;
