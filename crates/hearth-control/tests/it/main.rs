//! The control plane over a real SQLite file, a scripted host and a clock that is moved by hand.

// A test that cannot be set up has failed: `unwrap` says so.
#![allow(clippy::unwrap_used)]

mod support;

mod accounts;
mod concurrency;
mod connectors;
mod crash;
mod forks;
mod images;
mod lifecycle;
mod managed_policies;
mod moved_elsewhere;
mod pressure;
mod quotas;
mod reconcile;
mod slow_host;
mod timers;
mod tokens;
