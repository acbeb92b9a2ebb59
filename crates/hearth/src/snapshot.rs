//! `hearth snapshot`: list, verify, delete.

use std::process::ExitCode;

use anyhow::Result;
use hearth_node::{Node, SnapshotInfo, with_causes};
use serde::Serialize;

use crate::cli::machine::SnapshotCommand;
use crate::shared::Shared;
use crate::{machine, output};

pub(crate) fn run(shared: &Shared, command: SnapshotCommand) -> Result<ExitCode> {
    match command {
        SnapshotCommand::Ls => ls(shared, &machine::look_at_node(shared)?),
        SnapshotCommand::Verify { snapshots } => {
            verify(shared, &machine::look_at_node(shared)?, &snapshots)
        }
        SnapshotCommand::Rm { snapshots } => {
            let (node, _owned) = machine::own_node(shared)?;
            let runtime = tokio::runtime::Builder::new_current_thread().build()?;
            for beginning in snapshots {
                let id = node.find_snapshot(&beginning)?;
                runtime.block_on(node.delete_snapshot(id))?;
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// A line of the list.
#[derive(Serialize)]
struct Line {
    id: String,
    machine: String,
    purpose: String,
    memory_mib: u32,
    layers: usize,
    created_at: u64,
}

fn ls(shared: &Shared, node: &Node) -> Result<ExitCode> {
    let lines: Vec<Line> = node
        .snapshots()
        .iter()
        .map(|snapshot| line(snapshot))
        .collect();
    if shared.json {
        output::json(&lines)?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<_> = lines
        .into_iter()
        .map(|line| {
            [
                output::short(&line.id).to_owned(),
                line.machine,
                line.purpose,
                line.memory_mib.to_string(),
                line.layers.to_string(),
            ]
        })
        .collect();
    output::table(["SNAPSHOT", "OF", "PURPOSE", "MIB", "LAYERS"], &rows)?;
    Ok(ExitCode::SUCCESS)
}

fn line(snapshot: &SnapshotInfo) -> Line {
    Line {
        id: snapshot.id.to_string(),
        machine: snapshot.record.machine.clone(),
        purpose: format!("{:?}", snapshot.record.purpose).to_lowercase(),
        memory_mib: snapshot.record.memory_mib,
        layers: snapshot.ancestors.len(),
        created_at: snapshot.record.created_at,
    }
}

/// What was found in one snapshot.
#[derive(Serialize)]
struct Finding {
    id: String,
    problems: Vec<String>,
}

fn verify(shared: &Shared, node: &Node, beginnings: &[String]) -> Result<ExitCode> {
    let mut ids = Vec::new();
    for beginning in beginnings {
        ids.push(node.find_snapshot(beginning)?);
    }
    if ids.is_empty() {
        ids = node
            .snapshots()
            .into_iter()
            .map(|snapshot| snapshot.id)
            .collect();
    }
    let mut findings = Vec::new();
    while let Some(id) = ids.pop() {
        let directory = node.layout().snapshot(id);
        let problems =
            hearth_snapshot::verify_chain(&directory, |ancestor| node.layout().snapshot(ancestor));
        if let Ok(description) = hearth_snapshot::describe(&directory) {
            let seen = |ancestor: &_| {
                ids.contains(ancestor)
                    || findings
                        .iter()
                        .any(|found: &Finding| found.id == ancestor.to_string())
            };
            let unseen: Vec<_> = description
                .ancestors
                .into_iter()
                .filter(|ancestor| !seen(ancestor))
                .collect();
            ids.extend(unseen);
        }
        let problems = problems
            .iter()
            .map(|problem| with_causes(problem))
            .collect();
        findings.push(Finding {
            id: id.to_string(),
            problems,
        });
    }
    let is_sound = findings.iter().all(|finding| finding.problems.is_empty());
    if shared.json {
        output::json(&findings)?;
    } else {
        for finding in &findings {
            let verdict = if finding.problems.is_empty() {
                "ok"
            } else {
                "DAMAGED"
            };
            println!("{}  {verdict}", output::short(&finding.id));
            for problem in &finding.problems {
                println!("  {problem}");
            }
        }
    }
    Ok(if is_sound {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
