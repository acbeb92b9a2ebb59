//! The fixture, with the program that cargo built for these tests.

use std::path::Path;

use hearth_machine_tests::guest::Fixture;

/// The node as it is.
pub(crate) fn new() -> Fixture {
    Fixture::new(Path::new(env!("CARGO_BIN_EXE_test-guest")))
}

/// The node, without the microVMs that a test before this one left when it failed.
pub(crate) async fn node() -> Fixture {
    let fixture = new();
    for (name, _) in fixture.machines() {
        fixture.machine(&name).unwrap().terminate().await.unwrap();
    }
    fixture.sweep().await.unwrap();
    fixture
}
