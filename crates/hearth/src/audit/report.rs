//! Prints the findings of an audit.

use std::process::ExitCode;

use anyhow::Result;
use serde_json::json;

use super::attack::Finding;
use super::attempt::Attempt;
use crate::output;
use crate::shared::Shared;

/// Prints all findings. The exit code is a failure unless every attack was held.
pub(super) fn print(shared: &Shared, findings: &[Finding<'_>]) -> Result<ExitCode> {
    let held = findings.iter().filter(|finding| finding.is_held()).count();
    if shared.json {
        let rows: Vec<_> = findings.iter().map(row).collect();
        output::json(&json!({"attacks": rows, "held": held, "made": findings.len()}))?;
    } else {
        let rows: Vec<_> = findings
            .iter()
            .map(|finding| {
                [
                    finding.attack.name.clone(),
                    finding.attack.from.text().to_owned(),
                    finding.attack.tries.clone(),
                    finding.attack.stopped_by.clone(),
                    result(finding),
                ]
            })
            .collect();
        output::table(["ATTACK", "FROM", "TRIES", "STOPPED BY", "RESULT"], &rows)?;
        output::say(&format!("{held} of {} attacks held", findings.len()))?;
    }
    let all = held == findings.len() && held > 0;
    Ok(if all {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn row(finding: &Finding<'_>) -> serde_json::Value {
    let attempt = finding.result.as_ref().ok();
    json!({
        "name": finding.attack.name,
        "from": finding.attack.from.text(),
        "tries": finding.attack.tries,
        "stoppedBy": finding.attack.stopped_by,
        "held": finding.is_held(),
        "attackSucceeded": attempt.map(|attempt| attempt.attack),
        "controlSucceeded": attempt.map(|attempt| attempt.control),
        "error": finding.result.as_ref().err(),
    })
}

fn result(finding: &Finding<'_>) -> String {
    match &finding.result {
        Ok(Attempt { attack: true, .. }) => "NOT STOPPED".to_owned(),
        Ok(Attempt { control: true, .. }) => "held".to_owned(),
        Ok(_) => "shows nothing: what is open failed too".to_owned(),
        Err(error) => format!("not made: {error}"),
    }
}
