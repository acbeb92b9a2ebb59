//! Rules about source files: size, module docs, and where `unsafe` may stand.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Longest file, in lines. Files of 150 to 400 lines read best; beyond this one they are two things.
const MAX_LINES: usize = 800;

/// Crates that may hold `unsafe`: the monitor, the memory of snapshots, the agent's system calls, and the one that makes a
/// TAP. Every other crate forbids it in its root.
const UNSAFE_CRATES: &[&str] = &[
    "hearth-vmm",
    "hearth-snapshot",
    "hearth-agent",
    "hearth-net",
];

/// How far above an `unsafe` its argument may begin, in lines.
const ARGUMENT_DISTANCE: usize = 12;

pub(super) fn complaints(root: &Path) -> Result<Vec<String>> {
    let mut complaints = Vec::new();
    for path in tracked_files(root, "*.rs")? {
        let text = match fs::read_to_string(root.join(&path)) {
            Ok(text) => text,
            // Deleted, and not yet so in the index.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error).with_context(|| format!("cannot read {path}")),
        };
        complaints.extend(judge(&path, &text));
    }
    Ok(complaints)
}

/// Tracked files whose names fit the pattern, and new ones that are not ignored.
pub(super) fn tracked_files(root: &Path, pattern: &str) -> Result<Vec<String>> {
    let output = Command::new("git")
        .args([
            "ls-files",
            "--cached",
            "--others",
            "--exclude-standard",
            pattern,
        ])
        .current_dir(root)
        .output()
        .context("cannot run git")?;
    if !output.status.success() {
        bail!(
            "git ls-files failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    let list = String::from_utf8(output.stdout).context("a file name is not UTF-8")?;
    Ok(list.lines().map(str::to_owned).collect())
}

fn judge(path: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let lines: Vec<&str> = text.lines().collect();
    if lines.len() > MAX_LINES {
        complaints.push(format!(
            "{path} has {} lines, more than {MAX_LINES}: split it",
            lines.len()
        ));
    }
    let is_test = path.ends_with("/tests.rs") || path.contains("/tests/");
    // Two lines each, around a function that has its docs.
    let is_fuzz_wrapper = path.starts_with("fuzz/fuzz_targets/");
    if !is_test && !is_fuzz_wrapper && !text.starts_with("//!") {
        complaints.push(format!(
            "{path} does not start with module docs (//!) that say why it is there"
        ));
    }
    // Tests build no release: what is compiled there alone, or left out there, nobody sees fail.
    let attribute = concat!("#[cfg", "(");
    let depends_on_build =
        |line: &&str| line.contains(attribute) && line.contains("debug_assertions");
    if lines.iter().any(depends_on_build) {
        complaints.push(format!(
            "{path} compiles other code in a release: use `if cfg!(debug_assertions)`, which is compiled in every build"
        ));
    }
    let is_root = path.ends_with("src/lib.rs") || path.ends_with("src/main.rs");
    let may_be_unsafe = UNSAFE_CRATES
        .iter()
        .any(|name| path.starts_with(&format!("crates/{name}/")));
    if is_root && !may_be_unsafe && !text.contains("#![forbid(unsafe_code)]") {
        complaints.push(format!("{path} lacks #![forbid(unsafe_code)]"));
    }
    if may_be_unsafe {
        complaints.extend(
            undocumented_unsafe(&lines)
                .map(|line| format!("{path}:{line}: unsafe without a SAFETY comment above it")),
        );
    }
    complaints
}

/// Line numbers (from 1) of `unsafe` blocks and implementations that nothing above argues for.
fn undocumented_unsafe<'a>(lines: &'a [&str]) -> impl Iterator<Item = usize> + 'a {
    lines.iter().enumerate().filter_map(move |(index, line)| {
        let code = line.split("//").next().unwrap_or_default();
        let is_unsafe = code.contains("unsafe {") || code.contains("unsafe impl");
        let above = &lines[index.saturating_sub(ARGUMENT_DISTANCE)..=index];
        let is_argued = above.iter().any(|line| line.contains("SAFETY:"));
        (is_unsafe && !is_argued).then_some(index + 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_good_file_passes() {
        let text = "//! Why.\n#![forbid(unsafe_code)]\n";
        assert!(judge("crates/hearth-node/src/lib.rs", text).is_empty());
    }

    #[test]
    fn each_rule_complains_once() {
        assert_eq!(judge("crates/hearth-node/src/a.rs", "fn a() {}\n").len(), 1);
        assert_eq!(
            judge("crates/hearth-node/src/lib.rs", "//! Why.\n").len(),
            1
        );
        let long = format!("//! Why.\n{}", "\n".repeat(MAX_LINES));
        assert_eq!(judge("crates/hearth-node/src/a.rs", &long).len(), 1);
        assert!(judge("crates/hearth-node/src/a/tests.rs", "use super::*;\n").is_empty());
    }

    #[test]
    fn every_build_compiles_the_same() {
        let of_one = format!("//! Why.\n#[cfg({}_assertions)]\nfn a() {{}}\n", "debug");
        assert_eq!(judge("crates/hearth-node/src/a.rs", &of_one).len(), 1);
        let of_all = "//! Why.\nfn a() -> bool {\n    cfg!(debug_assertions)\n}\n";
        assert!(judge("crates/hearth-node/src/a.rs", of_all).is_empty());
    }

    #[test]
    fn unsafe_needs_its_argument() {
        let bare = "//! Why.\nfn a() {\n    unsafe { b() }\n}\n";
        let argued =
            "//! Why.\nfn a() {\n    // SAFETY: b asks for nothing.\n    unsafe { b() }\n}\n";
        assert_eq!(judge("crates/hearth-vmm/src/a.rs", bare).len(), 1);
        assert!(judge("crates/hearth-vmm/src/a.rs", argued).is_empty());
    }
}
