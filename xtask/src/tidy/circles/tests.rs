use std::fs;

use super::*;

/// A crate of these files; answers what each forbidden circle has, by file name.
fn circles_of(files: &[(&str, &str)]) -> Vec<Vec<String>> {
    let directory = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = directory.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let graph = Tree::load(&directory.path().join("lib.rs"))
        .unwrap()
        .graph();
    let name = |file: usize| {
        let path = graph.files[file]
            .path
            .strip_prefix(directory.path())
            .unwrap();
        path.display().to_string()
    };
    let circles = forbidden(&graph).into_iter();
    circles
        .map(|circle| circle.into_iter().map(name).collect())
        .collect()
}

#[test]
fn siblings_must_not_import_each_other() {
    let files = [
        ("lib.rs", "mod a; mod b; mod c;"),
        ("a.rs", "use crate::b::B; pub(crate) struct A;"),
        ("b.rs", "pub(crate) struct B; fn f() { super::a::A; }"),
        ("c.rs", "use crate::{a::A, b};"),
    ];
    assert_eq!(circles_of(&files), [["a.rs", "b.rs"]]);
}

#[test]
fn a_child_may_use_its_parent() {
    let files = [
        ("lib.rs", "mod a;"),
        (
            "a.rs",
            "mod child; pub(crate) struct A; fn f() { child::f(); }",
        ),
        ("a/child.rs", "use super::A; pub(super) fn f() {}"),
    ];
    assert!(circles_of(&files).is_empty());
}

#[test]
fn children_of_one_parent_must_not_import_each_other() {
    let files = [
        ("lib.rs", "mod a;"),
        (
            "a/mod.rs",
            "mod one; mod two; pub(crate) struct A; fn f() { one::f(); }",
        ),
        ("a/one.rs", "use super::{A, two::g}; pub(super) fn f() {}"),
        ("a/two.rs", "use super::one::f; pub(super) fn g() {}"),
    ];
    assert_eq!(circles_of(&files), [["a/one.rs", "a/two.rs"]]);
}

#[test]
fn a_name_that_is_handed_on_comes_from_where_it_is_defined() {
    let files = [
        ("lib.rs", "mod a; mod b; pub use a::A; pub use b::*;"),
        ("a.rs", "use crate::B; pub struct A;"),
        ("b.rs", "pub struct B;"),
    ];
    assert!(circles_of(&files).is_empty());
    let files = [files[0], files[1], ("b.rs", "use crate::A; pub struct B;")];
    assert_eq!(circles_of(&files), [["a.rs", "b.rs"]]);
}

#[test]
fn tests_may_import_what_they_like() {
    let files = [
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "use crate::b::B; pub struct A;"),
        (
            "b.rs",
            "pub struct B; #[cfg(test)] mod tests { use crate::a::A; }",
        ),
    ];
    assert!(circles_of(&files).is_empty());
}
