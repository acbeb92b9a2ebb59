//! Errors of guests as error answers, with codes of AWS.

use crate::fault::Fault;
use crate::guests::GuestError;

pub(super) fn guest_fault(error: &GuestError) -> Fault {
    let text = error.to_string();
    match error {
        GuestError::NotFound(_) => Fault::new(404, "ResourceNotFoundException", text),
        GuestError::Refused(_) => Fault::validation(text),
        GuestError::Frozen => Fault::new(
            409,
            "ConflictException",
            "The MicroVM stands still for a snapshot. Try again when it is RUNNING.",
        )
        .retry_after(1),
        GuestError::TooMany(limit) => Fault::new(
            429,
            "ThrottlingException",
            format!("The MicroVM serves {limit} requests of this kind already."),
        )
        .retry_after(1),
        GuestError::Unreachable(_) => {
            tracing::warn!(
                error = error as &dyn std::error::Error,
                "a guest does not answer"
            );
            Fault::new(
                500,
                "InternalServerException",
                "The MicroVM does not answer. Please retry.",
            )
            .retry_after(1)
        }
    }
}
