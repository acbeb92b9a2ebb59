//! The contract tests: boto3, botocore and the AWS CLI against the front (`tests/contract`), the AWS SDK for Rust
//! (`tests/sdk`), and real clients of the endpoint (`tests/clients`).

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::outcome::{Outcome, run_counted};
use crate::python;
use crate::workspace::{self, Profile};

/// Builds the development front, the development endpoint, the command line and the clients, and runs pytest.
pub(crate) fn run() -> Result<Outcome> {
    let environment = python::environment()?;
    let examples = ["dev_front", "dev_endpoint"];
    let built = workspace::build_targets(Profile::Development, &["hearth"], &examples)?;
    let front = workspace::named(&built, "dev_front")?;
    let endpoint = workspace::named(&built, "dev_endpoint")?;
    let hearth = workspace::named(&built, "hearth")?;
    let sdk_story = build_sdk_story()?;
    run_counted(
        Command::new(environment.join("bin/pytest"))
            .args([
                "contract",
                "clients",
                "--durations=0",
                "--durations-min=0.5",
            ])
            .current_dir(workspace::root().join("tests"))
            .env("HEARTH_TEST_SERVER", front)
            .env("HEARTH_TEST_ENDPOINT", endpoint)
            .env("HEARTH", hearth)
            .env("HEARTH_SDK_STORY", sdk_story),
    )
}

/// The AWS SDK for Rust as a client (`tests/sdk`), a workspace of its own.
fn build_sdk_story() -> Result<PathBuf> {
    let built = workspace::executables(
        workspace::cargo()
            .args(["build", "--locked", "--manifest-path"])
            .arg(workspace::root().join("tests/sdk/Cargo.toml"))
            .arg("--target-dir")
            .arg(workspace::target_dir().join("sdk")),
    )?;
    workspace::named(&built, "hearth-sdk-story")
}
