//! Types of arguments, parsed from the command line.

use std::path::PathBuf;
use std::str::FromStr;

use hearth_control::image::MemoryTier;
use http::{HeaderName, HeaderValue};

/// A variable: `NAME=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) value: String,
}

impl FromStr for Variable {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok(Self {
                name: name.to_owned(),
                value: value.to_owned(),
            }),
            _ => Err("write NAME=VALUE"),
        }
    }
}

/// A hook that the application answers, perhaps with its time limit: `ready`, `ready=30`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HookSwitch {
    pub(crate) name: &'static str,
    pub(crate) timeout_s: Option<u32>,
}

/// Hooks of a build.
pub(crate) const IMAGE_HOOKS: [&str; 2] = ["ready", "validate"];

/// Hooks of a microVM's life.
pub(crate) const MICROVM_HOOKS: [&str; 4] = ["run", "resume", "suspend", "terminate"];

impl FromStr for HookSwitch {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, timeout) = match text.split_once('=') {
            Some((name, timeout)) => (name, Some(timeout)),
            None => (text, None),
        };
        let known = IMAGE_HOOKS.iter().chain(&MICROVM_HOOKS);
        let found = known.copied().find(|known| *known == name);
        Ok(Self {
            name: found
                .ok_or("the hooks are ready, validate, run, resume, suspend and terminate")?,
            timeout_s: timeout
                .map(str::parse)
                .transpose()
                .map_err(|_| "write the time limit as seconds, for example ready=30")?,
        })
    }
}

/// A memory size of microVMs.
pub(crate) fn memory_mib(text: &str) -> Result<u32, String> {
    let size = text.parse().ok().and_then(MemoryTier::from_baseline_mib);
    size.map(MemoryTier::baseline_mib).ok_or_else(|| {
        let sizes = MemoryTier::ALL.map(|tier| tier.baseline_mib().to_string());
        format!("the sizes are {}", sizes.join(", "))
    })
}

/// A header: `NAME: VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeaderArgument {
    pub(crate) name: HeaderName,
    pub(crate) value: HeaderValue,
}

impl FromStr for HeaderArgument {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "write NAME: VALUE, for example 'Accept: text/plain'";
        let (name, value) = text.split_once(':').ok_or(wrong)?;
        Ok(Self {
            name: name.trim().parse().map_err(|_| wrong)?,
            value: value.trim().parse().map_err(|_| wrong)?,
        })
    }
}

/// A file, here or in a microVM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// Standard input or output.
    Standard,
    /// A path on this host.
    Local(PathBuf),
    /// A path in a microVM.
    Guest { microvm: String, path: String },
}

impl FromStr for Place {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            _ if text == "-" => Ok(Self::Standard),
            // ./a:b is a local file, as for scp.
            Some((microvm, _)) if microvm.is_empty() || microvm.contains('/') => {
                Ok(Self::Local(text.into()))
            }
            Some((microvm, path)) if path.starts_with('/') => Ok(Self::Guest {
                microvm: microvm.to_owned(),
                path: path.to_owned(),
            }),
            Some(_) => Err("write ID:/absolute/path, or ./NAME for a local name with a colon"),
            None => Ok(Self::Local(text.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_apart() {
        let guest = |microvm: &str, path: &str| Place::Guest {
            microvm: microvm.to_owned(),
            path: path.to_owned(),
        };
        for (text, place) in [
            ("-", Place::Standard),
            ("a.txt", Place::Local("a.txt".into())),
            ("/tmp/a:b", Place::Local("/tmp/a:b".into())),
            ("./a:b", Place::Local("./a:b".into())),
            (
                "microvm-1:/etc/os-release",
                guest("microvm-1", "/etc/os-release"),
            ),
            ("1a:/x:y", guest("1a", "/x:y")),
        ] {
            assert_eq!(text.parse(), Ok(place), "{text}");
        }
        assert!("1a:relative".parse::<Place>().is_err());
    }

    #[test]
    fn hooks_may_have_a_time_limit() {
        let hook = |text: &str| text.parse::<HookSwitch>();
        assert_eq!(hook("ready").unwrap().timeout_s, None);
        assert_eq!(hook("suspend=7").unwrap().timeout_s, Some(7));
        assert!(hook("sleep").is_err() && hook("run=soon").is_err());
    }

    #[test]
    fn variables_and_headers_have_two_sides() {
        let variable: Variable = "A=b=c".parse().unwrap();
        assert_eq!(
            (variable.name.as_str(), variable.value.as_str()),
            ("A", "b=c")
        );
        assert!("A".parse::<Variable>().is_err() && "=b".parse::<Variable>().is_err());
        let header: HeaderArgument = "Accept:  text/plain".parse().unwrap();
        assert_eq!(
            (header.name.as_str(), header.value.to_str().unwrap()),
            ("accept", "text/plain")
        );
        assert!("Accept".parse::<HeaderArgument>().is_err());
    }
}
