//! Limits of everything that is asked of the agent, each with its reason, and the checks of requests
//! against them.

use std::cell::Cell;
use std::collections::BTreeMap;

use hearth_wire::agent::Refusal;

/// Connections that have not said yet what they are for. In the emulated host anybody who reaches the port
/// can open them.
pub(crate) const MAX_UNOPENED: u32 = 128;

/// Control streams: a node holds one and opens others for status and health.
pub(crate) const MAX_CONTROL: u32 = 32;

/// Exec streams: each is a process with up to three pipes.
pub(crate) const MAX_EXEC: u32 = 128;

/// Proxy streams: each is two sockets and about 2 KiB of the agent.
pub(crate) const MAX_PROXY: u32 = 2048;

/// Connections to services of the host, which serves fewer at a time; the others wait for it.
pub(crate) const MAX_SERVICE: u32 = 256;

/// File streams: each is a forked worker.
pub(crate) const MAX_FILE: u32 = 32;

/// Log streams: a collector, and a few people who watch.
pub(crate) const MAX_LOGS: u32 = 8;

/// Ended execs whose background processes still write: each is up to two pipes of the agent.
pub(crate) const MAX_BACKGROUND: u32 = 256;

/// Largest opening message: an exec with all its arguments and variables.
pub(crate) const MAX_OPEN_BYTES: usize = 512 << 10;

/// Arguments and variables together, each string with its terminator. The kernel takes a quarter of the
/// stack limit (2 MiB of 8), less is left for interpreters that add their own.
const MAX_STRINGS_BYTES: usize = 384 << 10;

/// One argument or variable (the kernel's `MAX_ARG_STRLEN`).
const MAX_STRING_BYTES: usize = 128 << 10;

/// Number of arguments and variables.
const MAX_STRINGS: usize = 8192;

/// A path, with its terminator (`PATH_MAX`).
const MAX_PATH_BYTES: usize = 4096;

/// A host name (`HOST_NAME_MAX`).
const MAX_HOSTNAME_BYTES: usize = 64;

/// Streams of one kind: how many there may be, and how many there are.
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

    /// Takes a place, until the guard is dropped.
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

/// A refusal because the request itself makes no sense.
pub(crate) fn refused(reason: impl Into<String>) -> Refusal {
    Refusal::State(reason.into())
}

/// Arguments and environment of a process to start.
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

/// An absolute path.
pub(crate) fn check_path(path: &str) -> Result<(), Refusal> {
    if !path.starts_with('/') || path.contains('\0') {
        return Err(refused("the path is not absolute"));
    }
    if path.len() >= MAX_PATH_BYTES {
        return Err(refused("the path is too long"));
    }
    Ok(())
}

/// A working directory: an absolute path, or empty for the default.
pub(crate) fn check_cwd(path: &str) -> Result<(), Refusal> {
    if path.is_empty() {
        return Ok(());
    }
    check_path(path)
}

/// The user of a process: short, and of one line of `/etc/passwd`.
pub(crate) fn check_user(user: &str) -> Result<(), Refusal> {
    // Two names of at most 32 bytes by useradd(8), generously.
    if user.len() > 256 || user.contains(['\0', '\n']) {
        return Err(refused("the user is not a name"));
    }
    Ok(())
}

/// A host name of the letters, digits, dots and dashes of RFC 1123.
pub(crate) fn check_hostname(name: &str) -> Result<(), Refusal> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    if name.is_empty() || name.len() > MAX_HOSTNAME_BYTES || !name.bytes().all(is_allowed) {
        return Err(refused("the host name is not one"));
    }
    Ok(())
}

/// A machine id: 32 lower-case hexadecimal digits (machine-id(5)).
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
