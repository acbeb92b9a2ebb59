//! The documents name the operations that there are, and no others.

use std::collections::BTreeSet;

use super::address::{IMAGE_OPERATIONS, OPERATIONS, find};
use crate::accounts::ROUTES;

const GUIDE: &str = include_str!("../../../../docs/hearth-api.md");
const SCHEMA: &str = include_str!("../../../../docs/hearth-api.openapi.yaml");

fn routes() -> BTreeSet<String> {
    let microvms = OPERATIONS
        .iter()
        .map(|(method, word, _)| format!("{method} /hearth/v1/microvms/{{id}}/{word}"));
    let accounts = ROUTES
        .iter()
        .map(|(method, path, _)| format!("{method} /hearth/v1/{path}"));
    let images = IMAGE_OPERATIONS
        .iter()
        .map(|(method, word, _)| format!("{method} /hearth/v1/images/{{name}}/{word}"));
    microvms.chain(images).chain(accounts).collect()
}

#[test]
fn the_guide_has_a_section_for_every_route() {
    let sections = GUIDE.lines().filter_map(|line| {
        let route = line.strip_prefix("## `")?.strip_suffix('`')?;
        Some(route.split('?').next().unwrap_or(route).to_owned())
    });
    assert_eq!(sections.collect::<BTreeSet<_>>(), routes());
}

#[test]
fn the_schema_lists_every_route() {
    let mut listed = BTreeSet::new();
    let mut path = "";
    for line in SCHEMA.lines() {
        let indent = line.len() - line.trim_start().len();
        let key = line.trim().trim_end_matches(':');
        match indent {
            2 if key.starts_with('/') => path = key,
            2 => path = "",
            4 if !path.is_empty() && key != "parameters" => {
                listed.insert(format!("{} {path}", key.to_uppercase()));
            }
            _ => {}
        }
    }
    assert_eq!(listed, routes());
}

#[test]
fn the_schema_names_every_operation() {
    let microvms = OPERATIONS.iter().map(|(_, _, operation)| operation.name());
    let accounts = ROUTES.iter().map(|(_, _, operation)| operation.name());
    let images = IMAGE_OPERATIONS
        .iter()
        .map(|(_, _, operation)| operation.name());
    for name in microvms.chain(images).chain(accounts) {
        let line = format!("operationId: {name}\n");
        assert!(SCHEMA.contains(&line), "{line}");
    }
}

#[test]
fn paths_are_matched_as_a_whole() {
    let found = |method, path| find(method, path).map(|(operation, id)| (operation.name(), id));
    let exec = "/hearth/v1/microvms/microvm-1/exec";
    assert_eq!(
        found("POST", exec),
        Some(("ExecMicrovm", "microvm-1".to_owned()))
    );
    assert_eq!(found("GET", exec), None);
    assert_eq!(
        found("POST", "/hearth/v1/images/web/cancel-build"),
        Some(("CancelMicrovmImageBuild", "web".to_owned()))
    );
    assert_eq!(found("POST", "/hearth/v1/images/web/exec"), None);
    assert_eq!(found("POST", "/hearth/v1/microvms/a/cancel-build"), None);
    for path in [
        "/hearth/v1/microvms//exec",
        "/hearth/v1/microvms/a/b/exec",
        "/hearth/v2/microvms/a/exec",
    ] {
        assert_eq!(found("POST", path), None, "{path}");
    }
}
