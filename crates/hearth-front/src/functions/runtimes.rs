//! Refuses runtimes in the words of AWS.

use hearth_functions::{BLOCKED_RUNTIMES, KNOWN_RUNTIMES, RUNTIMES};

use super::names::invalid;
use crate::fault::Fault;

/// Refuses a runtime that is not here.
pub(super) fn check_runtime(runtime: &str) -> Result<(), Fault> {
    if RUNTIMES.contains(&runtime) {
        return Ok(());
    }
    Err(invalid(if BLOCKED_RUNTIMES.contains(&runtime) {
        format!(
            "The runtime parameter of {runtime} is no longer supported for creating or updating AWS Lambda functions. We \
             recommend you use a supported runtime while creating or updating functions."
        )
    } else {
        format!(
            "Value {runtime} at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [{}] or be a \
             valid ARN",
            RUNTIMES.join(", ")
        )
    }))
}

/// Refuses runtimes that AWS does not know. Those of layers need not be here.
pub(super) fn check_compatible(runtimes: &[String]) -> Result<(), Fault> {
    if runtimes
        .iter()
        .all(|runtime| KNOWN_RUNTIMES.contains(&runtime.as_str()))
    {
        return Ok(());
    }
    Err(Fault::validation(format!(
        "1 validation error detected: Value '[{}]' at 'compatibleRuntimes' failed to satisfy constraint: Member must \
         satisfy constraint: [Member must satisfy enum value set: [{}]]",
        runtimes.join(", "),
        KNOWN_RUNTIMES.join(", ")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_runtime_is_known_and_none_is_blocked() {
        for runtime in RUNTIMES {
            assert!(KNOWN_RUNTIMES.contains(runtime));
            assert!(!BLOCKED_RUNTIMES.contains(runtime));
            assert!(check_runtime(runtime).is_ok());
        }
        assert!(
            BLOCKED_RUNTIMES
                .iter()
                .all(|runtime| KNOWN_RUNTIMES.contains(runtime))
        );
    }
}
