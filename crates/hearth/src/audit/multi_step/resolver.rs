//! One guest keeps the host's resolver busy, and its neighbour asks for a name.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::super::attempt::Attempt;
use super::super::fixture::{Fixture, Microvm};
use super::super::guest::script;

/// How long the resolver is held; the neighbour begins to ask in the middle. Long enough for both to start in the emulated host.
const HELD_S: u64 = 40;

/// A refusal is an answer, and comes from the same places. One question by a datagram, one by a connection.
const ASK: &str = "refused('example.com') and refused('example.com', stream=True)";

/// Holds silent connections to the resolver and asks it for many names at once. The attack is that the neighbour then has no answer;
/// the control, that it has one before, and that connections were held.
pub(super) async fn held(fixture: &Fixture, values: &Value) -> Result<Attempt> {
    let before = value_of(fixture, &fixture.closed, values, ASK).await?;
    let hold = format!("held_resolver(256, {HELD_S})");
    let holding = value_of(fixture, &fixture.open, values, &hold);
    let asking = async {
        sleep(Duration::from_secs(HELD_S / 2)).await;
        value_of(fixture, &fixture.closed, values, ASK).await
    };
    let (held, during) = tokio::join!(holding, asking);
    // A script that ends without a word was not answered either.
    let is_answered = during.is_ok_and(|during| during == json!(true));
    Ok(Attempt {
        attack: !is_answered,
        control: before == json!(true) && held?.as_u64() > Some(0),
    })
}

/// What an expression of the script is in a guest; nothing when it failed.
async fn value_of(
    fixture: &Fixture,
    microvm: &Microvm,
    values: &Value,
    expression: &str,
) -> Result<Value> {
    let asked = json!([{"name": "asked", "value": expression}]);
    let lines = script(&fixture.tenant, microvm, values, &asked).await?;
    let line = lines.into_iter().next();
    Ok(line.and_then(|line| line.value).unwrap_or_default())
}
