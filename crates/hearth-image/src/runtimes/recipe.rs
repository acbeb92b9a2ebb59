//! What each runtime is made of.

/// Packages that every runtime has: certificates, time zones.
const COMMON: &str = "ca-certificates,tzdata";

/// A runtime that can be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuntimeRecipe {
    /// AWS's name of it.
    pub name: &'static str,
    /// Debian's release.
    pub suite: &'static str,
    /// Its own packages, comma separated.
    packages: &'static str,
    /// Packages that are needed to build it, separated by spaces. They are removed again.
    pub(super) tools: &'static str,
    /// What is done beside installing packages.
    pub kind: RuntimeKind,
}

/// What is done beside installing packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuntimeKind {
    /// Python with the packages of this list, which has their versions and digests.
    Python {
        /// The list, as pip reads it.
        requirements: &'static str,
    },
    /// Nothing: the function brings its own `bootstrap`.
    Provided,
}

/// All runtimes, in the order in which they are listed.
pub const RUNTIMES: &[RuntimeRecipe] = &[
    RuntimeRecipe {
        name: "python3.11",
        suite: "bookworm",
        packages: "python3,python3-distutils",
        tools: "python3-pip-whl",
        kind: RuntimeKind::Python {
            requirements: include_str!("python3.11.txt"),
        },
    },
    RuntimeRecipe {
        name: "python3.13",
        suite: "trixie",
        packages: "python3",
        tools: "python3-pip-whl",
        kind: RuntimeKind::Python {
            requirements: include_str!("python3.13.txt"),
        },
    },
    RuntimeRecipe {
        name: "provided.al2023",
        suite: "trixie",
        packages: "curl",
        tools: "",
        kind: RuntimeKind::Provided,
    },
    RuntimeRecipe {
        name: "provided.al2",
        suite: "bookworm",
        packages: "curl",
        tools: "",
        kind: RuntimeKind::Provided,
    },
];

/// The recipe of a runtime.
#[must_use]
pub fn recipe_of(name: &str) -> Option<&'static RuntimeRecipe> {
    RUNTIMES.iter().find(|recipe| recipe.name == name)
}

impl RuntimeRecipe {
    /// All its packages, comma separated.
    pub(super) fn packages(&self) -> String {
        format!("{COMMON},{}", self.packages)
    }

    /// The interface client with its version; `None` if the function brings it.
    pub(super) fn client(&self) -> Option<String> {
        match self.kind {
            RuntimeKind::Python { requirements } => requirements
                .lines()
                .find_map(|line| line.strip_prefix("awslambdaric=="))
                .and_then(|rest| rest.split_whitespace().next())
                .map(|version| format!("awslambdaric {version}")),
            RuntimeKind::Provided => None,
        }
    }

    /// The file at which its programs begin is part of the function.
    #[must_use]
    pub fn has_own_bootstrap(&self) -> bool {
        self.kind != RuntimeKind::Provided
    }

    /// Programs that read the files which every function of this runtime needs.
    pub(super) fn warm_up(&self) -> Vec<Vec<String>> {
        let argv = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        match self.kind {
            RuntimeKind::Python { .. } => vec![argv(&[
                "/var/lang/bin/python3",
                "-c",
                "import sys; sys.path.append('/var/runtime'); import awslambdaric.__main__, json, logging, ssl, hashlib",
            ])],
            RuntimeKind::Provided => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_pinned_with_their_digests() {
        assert_eq!(
            recipe_of("python3.11").unwrap().client().unwrap(),
            "awslambdaric 4.2.2"
        );
        assert_eq!(recipe_of("provided.al2").unwrap().client(), None);
        for recipe in RUNTIMES {
            let RuntimeKind::Python { requirements } = recipe.kind else {
                continue;
            };
            let count = |text: &str| requirements.matches(text).count();
            assert_eq!(count("=="), count("--hash=sha256:"), "{}", recipe.name);
        }
    }
}
