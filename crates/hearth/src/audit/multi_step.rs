//! Attacks that consist of more than one request.

mod builder;
mod copying;
mod endpoints;
mod forks;
mod neighbours;
mod objects;
mod policies;
mod resolver;
mod strangers;

use anyhow::Result;
use serde_json::Value;

use super::attempt::Attempt;
use super::fixture::Fixture;
use super::table::MultiStep;

/// Makes an attack and its control. `values` are those of the script in guests, including secrets taken from a guest.
pub(super) async fn make(fixture: &Fixture, values: &Value, by: MultiStep) -> Result<Attempt> {
    match by {
        MultiStep::FormBeforeSignature => objects::form_before_signature(fixture).await,
        MultiStep::ChunkWithoutEnd => objects::chunk_without_end(fixture).await,
        MultiStep::OldSignature => objects::old_signature(fixture).await,
        MultiStep::MoreHeaders => objects::more_headers(fixture).await,
        MultiStep::PresignedExec => strangers::presigned_exec(fixture).await,
        MultiStep::DeletedKey => strangers::deleted_key(fixture).await,
        MultiStep::Metrics => strangers::metrics(fixture).await,
        MultiStep::HeldBodies => neighbours::held_bodies(fixture).await,
        MultiStep::NeighboursLogs => neighbours::logs(fixture).await,
        MultiStep::OtherSpelling => policies::other_spelling(fixture, values).await,
        MultiStep::Smuggling => endpoints::smuggling(fixture).await,
        MultiStep::PortTokenAtTheShell => endpoints::port_token_at_the_shell(fixture).await,
        MultiStep::CopiedLinks => copying::links(fixture).await,
        MultiStep::HostileFolder => copying::hostile_folder(fixture).await,
        MultiStep::EndlessFolder => copying::endless_folder(fixture).await,
        MultiStep::TokensOfAParent => forks::tokens_of_a_parent(fixture).await,
        MultiStep::HeldResolver => resolver::held(fixture, values).await,
        MultiStep::LoginInTheBuilder => builder::login(fixture).await,
    }
}
