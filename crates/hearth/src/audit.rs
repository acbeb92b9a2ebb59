//! `hearth audit`: attacks this installation with microVMs of its own, and reports whether each attack was stopped.
//!
//! ```text
//! attacks.toml, attacks.py   the attacks, as data
//! table                      reads them
//! fixture                    makes two accounts, an image, a role and two microVMs; and removes them afterwards
//! attack                     makes an attack and its control: the same attempt at something that is open
//! multi_step                 attacks of more than one request, a file for each subject
//! guest, wire                commands and the script in a guest; requests byte by byte
//! report, list               print the findings, and the attacks for `--list`
//! ```
//!
//! It uses only the public APIs, as an attacker would. An attack counts as held only if it failed *and* its control
//! succeeded: an attempt that could not have worked in any case shows nothing.

mod attack;
mod attempt;
mod endpoint;
mod fixture;
mod guest;
mod list;
mod multi_step;
mod report;
mod table;
mod wire;

use std::process::ExitCode;

use anyhow::Result;
use hearth_client::Client;

pub(crate) use list::run as list;

use crate::shared::Shared;

pub(crate) async fn run(shared: &Shared, client: &Client) -> Result<ExitCode> {
    let attacks = table::attacks()?;
    let setup = fixture::Setup::set_up(client).await;
    let findings = match &setup.outcome {
        Ok(fixture) => attack::make_all(fixture, &attacks).await,
        Err(_) => Ok(Vec::new()),
    };
    // The fixture is removed in any case.
    let removed = setup.take_down(client).await;
    let findings = findings?;
    removed?;
    report::print(shared, &findings)
}
