//! The rules of dependencies between crates.
//!
//! Dependencies point down only: a crate never depends on a crate of its own layer or above. Some crates must not know
//! whole subjects (async runtimes, HTTP, KVM), so they must not depend on certain other crates.

use super::Metadata;

/// The layers of crates, from the bottom up.
const FLOORS: &[&[&str]] = &[
    &["hearth-rate", "hearth-sqlite", "hearth-wire", "hearth-zip"],
    &[
        "hearth-agent",
        "hearth-base",
        "hearth-snapshot",
        "hearth-functions",
        "hearth-http",
        "hearth-invoke",
        "hearth-logs",
        "hearth-net",
        "hearth-objects",
        "hearth-sigv4",
    ],
    &["hearth-vmm", "hearth-emulated", "hearth-client"],
    &["hearth-node"],
    &["hearth-image"],
    &["hearth-control"],
    &["hearth-host"],
    &["hearth-endpoint"],
    &["hearth-front"],
    &["hearth-service"],
    &["hearth"],
];

/// Crates of the workspace that are not part of the layers.
const OUTSIDE: &[&str] = &[
    "hearth-bench",
    "hearth-corpus",
    "hearth-machine-tests",
    "hearth-test-world",
    "xtask",
];

/// Dependencies that a crate must not have, and why.
const ABSENCES: &[Absence] = &[
    Absence {
        who: &[
            "hearth-wire",
            "hearth-agent",
            "hearth-base",
            "hearth-emulated",
        ],
        what: KVM,
        why: "KVM is the VMM's business",
    },
    Absence {
        who: &[
            "hearth-wire",
            "hearth-base",
            "hearth-emulated",
            "hearth-functions",
            "hearth-snapshot",
            "hearth-vmm",
            "hearth-zip",
        ],
        what: ASYNC,
        why: "it works on plain threads",
    },
    Absence {
        who: &[
            "hearth-wire",
            "hearth-agent",
            "hearth-base",
            "hearth-emulated",
            "hearth-snapshot",
            "hearth-vmm",
            "hearth-node",
            "hearth-image",
            "hearth-functions",
            "hearth-logs",
            "hearth-objects",
            "hearth-sqlite",
            "hearth-zip",
        ],
        what: HTTP,
        why: "HTTP and AWS's words belong to the front",
    },
    Absence {
        who: &[
            "hearth-client",
            "hearth-control",
            "hearth-front",
            "hearth-endpoint",
            "hearth-functions",
            "hearth-image",
            "hearth-logs",
            "hearth-service",
        ],
        what: KVM,
        why: "it reaches machines through the node",
    },
];

const KVM: &[&str] = &["kvm-ioctls", "kvm-bindings"];
const ASYNC: &[&str] = &["tokio", "async-std", "smol", "futures"];
const HTTP: &[&str] = &["hyper", "axum", "tower-http", "s3s", "reqwest", "rustls"];

struct Absence {
    who: &'static [&'static str],
    what: &'static [&'static str],
    why: &'static str,
}

pub(super) fn complaints(metadata: &Metadata) -> Vec<String> {
    let mut complaints = Vec::new();
    for (name, package) in metadata.members() {
        if OUTSIDE.contains(&name) {
            continue;
        }
        let Some(floor) = floor_of(name) else {
            complaints.push(format!(
                "{name} stands on no floor: add it to FLOORS in xtask/src/tidy/layers.rs"
            ));
            continue;
        };
        let own = package.dependencies.iter();
        for dependency in own.filter(|dependency| dependency.kind.as_deref() != Some("dev")) {
            let is_member = dependency.path.is_some();
            if is_member && floor_of(&dependency.name).is_none_or(|below| below >= floor) {
                complaints.push(format!(
                    "{name} depends on {}, which is not below it (xtask/src/tidy/layers.rs)",
                    dependency.name
                ));
            }
            complaints.extend(
                absence_of(name, &dependency.name)
                    .map(|why| format!("{name} must not depend on {}: {why}", dependency.name)),
            );
        }
    }
    complaints
}

fn floor_of(name: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&name))
}

fn absence_of(who: &str, what: &str) -> Option<&'static str> {
    ABSENCES
        .iter()
        .find(|absence| absence.who.contains(&who) && absence.what.contains(&what))
        .map(|absence| absence.why)
}

#[cfg(test)]
mod tests {
    use super::super::{Dependency, Package};
    use super::*;

    fn workspace(edges: &[(&str, &str)]) -> Metadata {
        let package = |name: &str| Package {
            id: name.into(),
            name: name.into(),
            version: "0".into(),
            license: None,
            source: None,
            dependencies: edges
                .iter()
                .filter(|(from, _)| *from == name)
                .map(|(_, to)| Dependency {
                    name: (*to).into(),
                    kind: None,
                    path: to.starts_with("hearth").then(|| "crates".into()),
                })
                .collect(),
            targets: Vec::new(),
        };
        let packages: Vec<Package> = edges.iter().map(|(from, _)| package(from)).collect();
        Metadata {
            workspace_members: packages.iter().map(|package| package.id.clone()).collect(),
            packages,
        }
    }

    #[test]
    fn down_is_allowed_and_up_is_not() {
        assert!(complaints(&workspace(&[("hearth-vmm", "hearth-wire")])).is_empty());
        assert_eq!(
            complaints(&workspace(&[("hearth-vmm", "hearth-node")])).len(),
            1
        );
        assert_eq!(
            complaints(&workspace(&[("hearth-vmm", "hearth-emulated")])).len(),
            1
        );
    }

    #[test]
    fn a_crate_must_stand_somewhere() {
        assert_eq!(complaints(&workspace(&[("hearth-new", "serde")])).len(), 1);
    }

    #[test]
    fn the_monitor_knows_no_runtime() {
        assert_eq!(complaints(&workspace(&[("hearth-vmm", "tokio")])).len(), 1);
        assert!(complaints(&workspace(&[("hearth-node", "tokio")])).is_empty());
    }
}
