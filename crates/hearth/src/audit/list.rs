//! `hearth audit --list`: prints all attacks without making them.

use std::process::ExitCode;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::table::{self, Api, Attack, Kind, Owner};
use crate::output;
use crate::shared::Shared;

/// Prints the table of attacks: what the attacker tries to get, which layer must stop it, how it is tried, and its
/// control.
pub(crate) fn run(shared: &Shared) -> Result<ExitCode> {
    let attacks = table::attacks()?;
    let groups: Vec<_> = attacks
        .chunk_by(|one, next| one.group == next.group)
        .collect();
    if shared.json {
        let groups: Result<Vec<_>> = groups.into_iter().map(group).collect();
        output::json(&json!({"groups": groups?}))?;
        return Ok(ExitCode::SUCCESS);
    }
    for group in groups {
        output::say(group.first().map_or("", |attack| &attack.group))?;
        output::say("")?;
        for attack in group {
            let Words { how, control } = words(attack)?;
            output::say(&format!("  {}", attack.name))?;
            for (what, text) in [
                ("from", attack.from.text()),
                ("tries", &attack.tries),
                ("stopped by", &attack.stopped_by),
                ("by", &how),
                ("control", &control),
            ] {
                output::say(&format!("    {what:10}  {text}"))?;
            }
        }
        output::say("")?;
    }
    output::say(&format!("{} attacks", attacks.len()))?;
    Ok(ExitCode::SUCCESS)
}

fn group(attacks: &[Attack]) -> Result<Value> {
    let rows: Result<Vec<_>> = attacks.iter().map(row).collect();
    let name = attacks.first().map(|attack| &attack.group);
    Ok(json!({"name": name, "attacks": rows?}))
}

fn row(attack: &Attack) -> Result<Value> {
    let Words { how, control } = words(attack)?;
    Ok(json!({
        "name": attack.name,
        "from": attack.from.text(),
        "tries": attack.tries,
        "stoppedBy": attack.stopped_by,
        "by": how,
        "control": control,
    }))
}

/// Descriptions of an attack and of its control.
struct Words {
    how: String,
    control: String,
}

fn words(attack: &Attack) -> Result<Words> {
    let kind = attack.kind().context("the table says too little")?;
    let (how, control) = match kind {
        Kind::Guest { attack, control } => (attack.to_owned(), control.to_owned()),
        Kind::Client { api, owner } => {
            let owner = match owner {
                Owner::Tenant => "the same by the account that it belongs to",
                Owner::Operator => "the same by the first account",
            };
            (request(api), owner.to_owned())
        }
        Kind::Endpoint { token, port } => {
            let token = if token.is_empty() { "no token" } else { token };
            let port = port.map_or_else(String::new, |port| format!(", port {port}"));
            let control = "the same with the token of this microVM, at its port";
            (format!("GET / with {token}{port}"), control.to_owned())
        }
        Kind::Code { control, .. } => (
            "several requests (hearth/src/audit/multi_step)".to_owned(),
            control.to_owned(),
        ),
    };
    Ok(Words { how, control })
}

fn request(api: &Api) -> String {
    let target = api.target.as_deref().unwrap_or_default();
    let words = [
        &api.service,
        api.method.as_str(),
        api.path.as_str(),
        target,
        api.body.as_str(),
    ];
    let words = words.into_iter().filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_attack_says_how_it_is_tried_and_what_must_succeed_beside_it() {
        for attack in table::attacks().unwrap() {
            let Words { how, control } = words(&attack).unwrap();
            assert!(!how.is_empty() && !control.is_empty(), "{}", attack.name);
            assert!(!attack.group.is_empty(), "{}", attack.name);
        }
    }
}
