//! The error type for failed system calls, with the step that failed.

use std::borrow::Cow;
use std::io;

use hearth_wire::agent::Refusal;
use hearth_wire::without_error_numbers;
use rustix::io::Errno;

/// A step whose system call failed.
#[derive(Debug, thiserror::Error)]
#[error("{step}")]
pub(crate) struct Fault {
    /// The step, for example `mount /proc`.
    pub(crate) step: Cow<'static, str>,
    /// The kernel's error.
    #[source]
    pub(crate) errno: Errno,
}

impl Fault {
    pub(crate) fn new(step: impl Into<Cow<'static, str>>, errno: Errno) -> Self {
        Self {
            step: step.into(),
            errno,
        }
    }

    /// Decodes the bytes of [`Fault::to_bytes`]; anything else is an unknown failure.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        match bytes.split_first_chunk::<4>() {
            Some((errno, step)) => Self::new(
                String::from_utf8_lossy(step).into_owned(),
                Errno::from_raw_os_error(i32::from_le_bytes(*errno)),
            ),
            None => Self::new("start the process", Errno::IO),
        }
    }

    /// Encodes the fault for the pipe from a child to the agent: error number, then the step. Shorter than `PIPE_BUF`.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.errno.raw_os_error().to_le_bytes().to_vec();
        bytes.extend(self.step.bytes().take(512));
        bytes
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        // The step "there is no user x" says all.
        let is_sentence = fault.step.starts_with("there is no ");
        let message = match is_sentence {
            true => String::new(),
            false => without_error_numbers(&fault.errno.to_string()),
        };
        Self::Os {
            errno: fault.errno.raw_os_error(),
            message,
            step: fault.step.into_owned(),
        }
    }
}

/// Adds the name of the step to the error of a system call.
pub(crate) trait Step<T> {
    /// Adds a step that is a constant, or cheap to make.
    fn step(self, step: impl Into<Cow<'static, str>>) -> Result<T, Fault>;

    /// Adds a step that is built only on failure.
    fn step_with(self, step: impl FnOnce() -> String) -> Result<T, Fault>;
}

impl<T, E: IntoErrno> Step<T> for Result<T, E> {
    fn step(self, step: impl Into<Cow<'static, str>>) -> Result<T, Fault> {
        self.map_err(|error| Fault::new(step, error.into_errno()))
    }

    fn step_with(self, step: impl FnOnce() -> String) -> Result<T, Fault> {
        self.map_err(|error| Fault::new(step(), error.into_errno()))
    }
}

/// Errors that carry an error number.
pub(crate) trait IntoErrno {
    fn into_errno(self) -> Errno;
}

impl IntoErrno for Errno {
    fn into_errno(self) -> Errno {
        self
    }
}

impl IntoErrno for io::Error {
    fn into_errno(self) -> Errno {
        Errno::from_io_error(&self).unwrap_or(Errno::IO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_survives_the_pipe() {
        let fault = Fault::from_bytes(&Fault::new("mount /proc", Errno::BUSY).to_bytes());
        assert_eq!(
            (fault.step.as_ref(), fault.errno),
            ("mount /proc", Errno::BUSY)
        );
    }

    #[test]
    fn a_refusal_has_words_and_no_numbers() {
        let said = |fault| match Refusal::from(fault) {
            Refusal::Os { step, message, .. } => (step, message),
            other => panic!("{other}"),
        };
        let (step, message) = said(Fault::new("open /x", Errno::NOENT));
        assert_eq!(
            (step.as_str(), message.as_str()),
            ("open /x", "No such file or directory")
        );
        let (_, message) = said(Fault::new("there is no user nosuch", Errno::NOENT));
        assert_eq!(message, "");
    }

    #[test]
    fn a_cut_message_is_still_a_fault() {
        assert_eq!(Fault::from_bytes(&[1, 2]).errno, Errno::IO);
    }
}
