//! Errors formatted as one line for a person.

use std::error::Error;

/// Longest text of an error that is passed on: paths and causes fit, a runaway one does not fill a log.
const TEXT_MAX_BYTES: usize = 4096;

/// Formats an error and all its causes, joined by colons and cut to 4096 bytes.
pub fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // A transparent error repeats its source's text.
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    if text.len() > TEXT_MAX_BYTES {
        text.truncate(text.floor_char_boundary(TEXT_MAX_BYTES));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_follow_their_error() {
        let error = crate::kvm::KvmError::Step {
            step: "create a vCPU",
            source: kvm_ioctls::Error::new(libc::EINVAL),
        };
        let text = error_chain(&error);
        assert!(
            text.starts_with("KVM cannot create a vCPU: Invalid argument"),
            "{text}"
        );
    }
}
