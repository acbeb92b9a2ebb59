//! Operations on functions that are not answered yet. Those that read tell that there is nothing, the others are refused by name
//! (facts section 1.11).

use crate::fault::Fault;

/// The refusal of an operation.
pub(super) fn refused(operation: &str) -> Fault {
    match operation {
        "GetFunctionUrlConfig"
        | "UpdateFunctionUrlConfig"
        | "DeleteFunctionUrlConfig"
        | "GetEventSourceMapping"
        | "UpdateEventSourceMapping"
        | "DeleteEventSourceMapping" => not_found("The resource you requested does not exist."),
        "GetProvisionedConcurrencyConfig" => Fault::new(
            404,
            "ProvisionedConcurrencyConfigNotFoundException",
            "No Provisioned Concurrency Config found for this function",
        ),
        "GetCodeSigningConfig"
        | "UpdateCodeSigningConfig"
        | "DeleteCodeSigningConfig"
        | "ListFunctionsByCodeSigningConfig" => {
            not_found("The Lambda code signing configuration ARN can not be found.")
        }
        "CreateEventSourceMapping" => invalid(
            "Unrecognized event source. CreateEventSourceMapping is not supported by this Hearth installation, which has \
             no queues and no streams.",
        ),
        other => invalid(format!(
            "{other} is not supported by this Hearth installation."
        )),
    }
}

fn invalid(message: impl Into<String>) -> Fault {
    Fault::new(400, "InvalidParameterValueException", message)
}

fn not_found(message: impl Into<String>) -> Fault {
    Fault::new(404, "ResourceNotFoundException", message)
}
