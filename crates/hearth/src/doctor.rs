//! `hearth doctor`: checks whether this host can run microVMs, and whether it is safe to run those of strangers.
//!
//! Facts are read first ([`facts`]). Each check is a pure function of the facts ([`checks`]), so that tests can check
//! hosts that do not exist.

mod checks;
mod facts;

use std::process::ExitCode;

use anyhow::Result;

use crate::output;
use crate::shared::Shared;

use checks::{Check, Verdict};
use facts::Facts;

pub(crate) fn run(shared: &Shared) -> Result<ExitCode> {
    let facts = Facts::read(shared);
    let checks: Vec<_> = checks::ALL.iter().map(|check| check(&facts)).collect();
    if shared.json {
        output::json(&checks)?;
    } else {
        print(&checks)?;
    }
    let fails = checks.iter().any(|check| check.verdict == Verdict::Fails);
    Ok(if fails {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn print(checks: &[Check]) -> Result<()> {
    for check in checks {
        let verdict = check.verdict.word();
        let found = indented(&check.found, 23);
        output::say(&format!("{verdict:<7} {:<14} {found}", check.name))?;
        if check.verdict != Verdict::Good {
            output::say(&format!("{:<22} why:  {}", "", check.why))?;
            if let Some(mend) = &check.mend {
                let mend = indented(mend, 29);
                output::say(&format!("{:<22} mend: {mend}", ""))?;
            }
        }
    }
    let count = |verdict| {
        let of_verdict = checks.iter().filter(|check| check.verdict == verdict);
        of_verdict.count()
    };
    output::say(&format!(
        "\n{} ok, {} to think about, {} to be mended",
        count(Verdict::Good),
        count(Verdict::Advice),
        count(Verdict::Fails)
    ))
}

/// Indents all lines but the first to this column.
fn indented(lines: &str, column: usize) -> String {
    lines.replace('\n', &format!("\n{:column$}", ""))
}
