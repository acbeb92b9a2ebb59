//! `hearth audit`: attacks this installation with microVMs of its own, and says what stopped each attempt.
//!
//! ```text
//! attacks.toml, attacks.py   the attacks, as data
//! table                      reads them
//! stage                      two accounts, an image, a role, two microVMs; and takes all of it away again
//! attack                     makes one, and its control: the same attempt at something that is open
//! by                         those that are more than one request, by file of what they are about
//! guest, wire                commands and the script in a guest; requests byte by byte
//! report, list               what is printed: afterwards, and of `--list` before any is made
//! ```
//!
//! It goes through the public APIs alone, so it sees what an attacker would. An attack counts as held only if it failed *and* its control
//! succeeded: an attempt that could not have worked anyhow shows nothing.

mod attack;
mod attempt;
mod by;
mod endpoint;
mod guest;
mod list;
mod report;
mod stage;
mod table;
mod wire;

use std::process::ExitCode;

use anyhow::Result;
use hearth_client::Client;

pub(crate) use list::run as list;

use crate::shared::Shared;

pub(crate) async fn run(shared: &Shared, client: &Client) -> Result<ExitCode> {
    let attacks = table::attacks()?;
    let stage = stage::Stage::set_up(client).await;
    let findings = match &stage.outcome {
        Ok(scene) => attack::make_all(scene, &attacks).await,
        Err(_) => Ok(Vec::new()),
    };
    // Whatever happened, what was made for it goes again.
    let stood = stage.take_down(client).await;
    let findings = findings?;
    stood?;
    report::print(shared, &findings)
}
