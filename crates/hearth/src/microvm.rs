//! Commands on microVMs of the service: run, list, show, suspend, resume, terminate, and access to their guests.

pub(crate) mod copy;
mod curl;
mod exec;
mod lifecycle;
pub(crate) mod logs;
mod run;
mod shell;
mod show;
mod token;
pub(crate) mod wait;

pub(crate) use copy::copy;
pub(crate) use curl::curl;
pub(crate) use exec::exec;
pub(crate) use lifecycle::{fork, remove, resume, suspend, terminate_all};
pub(crate) use logs::logs;
pub(crate) use run::run;
pub(crate) use shell::shell;
pub(crate) use show::{list, show};
pub(crate) use token::token;
