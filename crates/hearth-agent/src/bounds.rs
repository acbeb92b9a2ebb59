//! Limits on requests to the agent, each with its reason, and the checks of requests against them.

use std::cell::Cell;
use std::collections::BTreeMap;

use hearth_wire::agent::Refusal;

/// Most connections that have not sent their opening message yet. In the emulated host anybody who reaches the port can
/// open them.
pub(crate) const MAX_UNOPENED: u32 = 128;

/// Most control streams: a node holds one and opens others for status and health.
pub(crate) const MAX_CONTROL: u32 = 32;

/// Most exec streams: each is a process with up to three pipes.
pub(crate) const MAX_EXEC: u32 = 128;

/// Most proxy streams: each costs two sockets and about 2 KiB of the agent's memory.
pub(crate) const MAX_PROXY: u32 = 2048;

/// Most connections to services of the host. The host serves fewer at a time; the others wait.
pub(crate) const MAX_SERVICE: u32 = 256;

/// Most file streams: each is a forked worker.
pub(crate) const MAX_FILE: u32 = 32;

/// Most log streams: one for the collector, and a few for people who watch.
pub(crate) const MAX_LOGS: u32 = 8;

/// Most ended execs whose background processes still write: each costs up to two pipes of the agent.
pub(crate) const MAX_BACKGROUND: u32 = 256;

/// Largest opening message in bytes: an exec with all its arguments and variables.
pub(crate) const MAX_OPEN_BYTES: usize = 512 << 10;

/// Most bytes of arguments and variables together, each string with its terminator. The kernel allows a quarter of the
/// stack limit (2 MiB of 8); this leaves room for interpreters that add their own.
const MAX_STRINGS_BYTES: usize = 384 << 10;

/// Most bytes of one argument or variable (the kernel's `MAX_ARG_STRLEN`).
const MAX_STRING_BYTES: usize = 128 << 10;

/// Most arguments and variables.
const MAX_STRINGS: usize = 8192;

/// Most bytes of a path, with its terminator (`PATH_MAX`).
const MAX_PATH_BYTES: usize = 4096;

/// Most bytes of a host name (`HOST_NAME_MAX`).
const MAX_HOSTNAME_BYTES: usize = 64;

/// Counts the streams of one kind against their limit.
#[derive(Debug)]
pub(crate) struct Slots {
    limit: u32,
    used: Cell<u32>,
}

impl Slots {
    pub(crate) const fn new(limit: u32) -> Self {
        Self {
            limit,
            used: Cell::new(0),
        }
    }

    /// Takes a place, which is freed when the guard is dropped. Refused if all places are taken.
    pub(crate) fn take(&self) -> Result<Slot<'_>, Refusal> {
        if self.used.get() >= self.limit {
            return Err(Refusal::TooMany { limit: self.limit });
        }
        self.used.set(self.used.get() + 1);
        Ok(Slot(self))
    }

    pub(crate) fn used(&self) -> u32 {
        self.used.get()
    }
}

/// A place that is taken.
#[derive(Debug)]
pub(crate) struct Slot<'a>(&'a Slots);

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.0.used.set(self.0.used.get() - 1);
    }
}

/// A refusal of a request that is invalid in itself.
pub(crate) fn refused(reason: impl Into<String>) -> Refusal {
    Refusal::State(reason.into())
}

/// Checks the arguments and environment of a process to start.
pub(crate) fn check_process(
    argv: &[String],
    env: &BTreeMap<String, String>,
) -> Result<(), Refusal> {
    if argv.first().is_none_or(String::is_empty) {
        return Err(refused("no program is given"));
    }
    if argv.len() + env.len() > MAX_STRINGS {
        return Err(refused("too many arguments and environment variables"));
    }
    if env.keys().any(|name| name.is_empty() || name.contains('=')) {
        return Err(refused("an environment variable has an impossible name"));
    }
    let lengths = || {
        let arguments = argv.iter().map(String::len);
        // `NAME=value`.
        let variables = env.iter().map(|(name, value)| name.len() + 1 + value.len());
        arguments.chain(variables).map(|length| length + 1)
    };
    if lengths().any(|length| length > MAX_STRING_BYTES)
        || lengths().sum::<usize>() > MAX_STRINGS_BYTES
    {
        return Err(refused("arguments and environment are too long"));
    }
    let mut strings = argv.iter().chain(env.keys()).chain(env.values());
    if strings.any(|string| string.contains('\0')) {
        return Err(refused(
            "an argument or environment variable holds a zero byte",
        ));
    }
    Ok(())
}

/// Checks that a path is absolute and not too long.
pub(crate) fn check_path(path: &str) -> Result<(), Refusal> {
    if !path.starts_with('/') || path.contains('\0') {
        return Err(refused("the path is not absolute"));
    }
    if path.len() >= MAX_PATH_BYTES {
        return Err(refused("the path is too long"));
    }
    Ok(())
}

/// Checks a working directory: an absolute path, or empty for the default.
pub(crate) fn check_cwd(path: &str) -> Result<(), Refusal> {
    if path.is_empty() {
        return Ok(());
    }
    check_path(path)
}

/// Checks the user of a process: short, and without NULs and line breaks.
pub(crate) fn check_user(user: &str) -> Result<(), Refusal> {
    // Two names of at most 32 bytes by useradd(8), generously.
    if user.len() > 256 || user.contains(['\0', '\n']) {
        return Err(refused("the user is not a name"));
    }
    Ok(())
}

/// Checks that a host name consists of letters, digits, dots and dashes (RFC 1123).
pub(crate) fn check_hostname(name: &str) -> Result<(), Refusal> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    if name.is_empty() || name.len() > MAX_HOSTNAME_BYTES || !name.bytes().all(is_allowed) {
        return Err(refused("the host name is not one"));
    }
    Ok(())
}

/// Checks a machine id: 32 lower-case hexadecimal digits (machine-id(5)).
pub(crate) fn check_machine_id(id: &str) -> Result<(), Refusal> {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if id.len() != 32 || !id.bytes().all(is_digit) {
        return Err(refused("the machine id is not 32 hexadecimal digits"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(strings: &[&str]) -> Vec<String> {
        strings.iter().map(|string| (*string).to_owned()).collect()
    }

    #[test]
    fn places_are_limited_and_come_back() {
        let slots = Slots::new(1);
        let place = slots.take().unwrap();
        assert_eq!(slots.take().unwrap_err(), Refusal::TooMany { limit: 1 });
        drop(place);
        assert!(slots.take().is_ok());
        assert_eq!(slots.used(), 0);
    }

    #[test]
    fn a_process_needs_a_program_and_clean_strings() {
        let env = BTreeMap::new();
        assert!(check_process(&argv(&["true"]), &env).is_ok());
        assert!(check_process(&[], &env).is_err());
        assert!(check_process(&argv(&[""]), &env).is_err());
        assert!(check_process(&argv(&["a\0b"]), &env).is_err());
        assert!(check_process(&argv(&["a", &"x".repeat(MAX_STRING_BYTES)]), &env).is_err());
        let env = BTreeMap::from([("A=B".to_owned(), String::new())]);
        assert!(check_process(&argv(&["true"]), &env).is_err());
    }

    #[test]
    fn many_long_strings_are_too_much_together() {
        let long = "x".repeat(100 << 10);
        let env = BTreeMap::new();
        assert!(check_process(&argv(&["a", &long, &long, &long]), &env).is_ok());
        assert!(check_process(&argv(&["a", &long, &long, &long, &long]), &env).is_err());
    }

    #[test]
    fn names_are_checked() {
        assert!(check_hostname("microvm-1.example").is_ok());
        assert!(check_hostname("").is_err());
        assert!(check_hostname("a b").is_err());
        assert!(check_machine_id(&"0a".repeat(16)).is_ok());
        assert!(check_machine_id(&"0A".repeat(16)).is_err());
        assert!(check_path("relative").is_err());
        assert!(check_cwd("").is_ok());
    }
}
