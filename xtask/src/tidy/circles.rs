//! The rule that no files import each other in a circle: types are defined below the code that uses them.
//!
//! A module and its child modules may form a circle (a child often works on its parent's type); children among each
//! other may not. Files of tests are left out. Names are resolved by `use`, `mod` and paths; code from macros is not
//! seen.

mod graph;
mod tree;

use std::path::{Path, PathBuf};

use anyhow::Result;

use graph::Graph;
use tree::Tree;

pub(super) fn complaints(root: &Path, crates: &[PathBuf]) -> Result<Vec<String>> {
    let mut complaints = Vec::new();
    for crate_root in crates {
        let tree = Tree::load(crate_root)?;
        let graph = tree.graph();
        for circle in forbidden(&graph) {
            complaints.push(describe(root, &graph, &circle));
        }
    }
    Ok(complaints)
}

/// The circles that are not a module and its children. Circles that remain without such a module are checked again.
fn forbidden(graph: &Graph) -> Vec<Vec<usize>> {
    let mut found = Vec::new();
    let mut open: Vec<Vec<usize>> = graph.circles(&graph.all());
    while let Some(circle) = open.pop() {
        match parent_of_all(graph, &circle) {
            None => found.push(circle),
            Some(parent) => {
                let rest: Vec<_> = circle.into_iter().filter(|file| *file != parent).collect();
                open.extend(graph.circles(&rest));
            }
        }
    }
    found.sort();
    found
}

/// The member of a circle that is the parent module of all others. The root of a crate does not count, as it is the
/// parent of every module.
fn parent_of_all(graph: &Graph, circle: &[usize]) -> Option<usize> {
    circle.iter().copied().find(|parent| {
        let module = &graph.files[*parent].module;
        let is_inside = |other: &usize| graph.files[*other].module.starts_with(module);
        !module.is_empty() && circle.iter().all(is_inside)
    })
}

fn describe(root: &Path, graph: &Graph, circle: &[usize]) -> String {
    let name = |file: usize| {
        let path = &graph.files[file].path;
        path.strip_prefix(root)
            .unwrap_or(path)
            .display()
            .to_string()
    };
    let mut lines = vec![format!("{} files import each other:", circle.len())];
    for from in circle {
        for (to, names) in &graph.files[*from].imports {
            if circle.contains(to) {
                let names: Vec<_> = names.iter().map(String::as_str).collect();
                lines.push(format!(
                    "  {} -> {}: {}",
                    name(*from),
                    name(*to),
                    names.join(", ")
                ));
            }
        }
    }
    lines.push("  move what both need into a file below them".to_owned());
    lines.join("\n")
}

#[cfg(test)]
mod tests;
