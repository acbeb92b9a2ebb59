//! The runtimes that functions may name. This is the only list.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

/// Runtimes that `hearth runtime` builds, by AWS's ids.
pub const RUNTIMES: &[&str] = &[
    "provided.al2",
    "provided.al2023",
    "python3.11",
    "python3.13",
];

/// Runtimes that AWS no longer takes for new functions, which it refuses in other words than unknown ones.
pub const BLOCKED_RUNTIMES: &[&str] = &[
    "nodejs",
    "nodejs4.3",
    "nodejs4.3-edge",
    "nodejs6.10",
    "nodejs8.10",
    "nodejs10.x",
    "nodejs12.x",
    "nodejs14.x",
    "nodejs16.x",
    "python2.7",
    "python3.6",
    "python3.7",
    "python3.8",
    "java8",
    "dotnetcore1.0",
    "dotnetcore2.0",
    "dotnetcore2.1",
    "dotnetcore3.1",
    "dotnet6",
    "go1.x",
    "ruby2.5",
    "ruby2.7",
    "provided",
];

/// Every id that AWS has or had, for lists of what a layer is for.
pub const KNOWN_RUNTIMES: &[&str] = &[
    "nodejs",
    "nodejs4.3",
    "nodejs6.10",
    "nodejs8.10",
    "nodejs10.x",
    "nodejs12.x",
    "nodejs14.x",
    "nodejs16.x",
    "nodejs18.x",
    "nodejs20.x",
    "nodejs22.x",
    "nodejs24.x",
    "java8",
    "java8.al2",
    "java11",
    "java17",
    "java21",
    "java25",
    "python2.7",
    "python3.6",
    "python3.7",
    "python3.8",
    "python3.9",
    "python3.10",
    "python3.11",
    "python3.12",
    "python3.13",
    "python3.14",
    "dotnetcore1.0",
    "dotnetcore2.0",
    "dotnetcore2.1",
    "dotnetcore3.1",
    "dotnet6",
    "dotnet8",
    "dotnet10",
    "nodejs4.3-edge",
    "go1.x",
    "ruby2.5",
    "ruby2.7",
    "ruby3.2",
    "ruby3.3",
    "ruby3.4",
    "ruby4.0",
    "provided",
    "provided.al2",
    "provided.al2023",
    "nodejs26.x",
    "python3.15",
    "java8.al2023",
    "java11.al2023",
    "java17.al2023",
    "custom",
];

/// The ARN of the version of a runtime. It has no account, as on AWS: the service owns it.
#[must_use]
pub fn runtime_version_arn(region: &str, runtime: &str) -> String {
    let digest = Sha256::digest(format!("hearth runtime {runtime}"));
    let mut arn = format!("arn:aws:lambda:{region}::runtime:");
    for byte in digest {
        // Writing into a text does not fail.
        let _ = write!(arn, "{byte:02x}");
    }
    arn
}
