//! Attacks that are more than one request.

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
use super::stage::Scene;
use super::table::By;

/// Makes one, and its control. `values` is what the script in guests is told, with what was taken from a guest.
pub(super) async fn make(scene: &Scene, values: &Value, by: By) -> Result<Attempt> {
    match by {
        By::FormBeforeSignature => objects::form_before_signature(scene).await,
        By::ChunkWithoutEnd => objects::chunk_without_end(scene).await,
        By::OldSignature => objects::old_signature(scene).await,
        By::MoreHeaders => objects::more_headers(scene).await,
        By::PresignedExec => strangers::presigned_exec(scene).await,
        By::DeletedKey => strangers::deleted_key(scene).await,
        By::Metrics => strangers::metrics(scene).await,
        By::HeldBodies => neighbours::held_bodies(scene).await,
        By::NeighboursLogs => neighbours::logs(scene).await,
        By::OtherSpelling => policies::other_spelling(scene, values).await,
        By::Smuggling => endpoints::smuggling(scene).await,
        By::PortTokenAtTheShell => endpoints::port_token_at_the_shell(scene).await,
        By::CopiedLinks => copying::links(scene).await,
        By::HostileFolder => copying::hostile_folder(scene).await,
        By::EndlessFolder => copying::endless_folder(scene).await,
        By::TokensOfAParent => forks::tokens_of_a_parent(scene).await,
        By::HeldResolver => resolver::held(scene, values).await,
        By::LoginInTheBuilder => builder::login(scene).await,
    }
}
