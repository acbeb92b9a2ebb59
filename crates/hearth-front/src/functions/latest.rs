//! Operations whose refusal of a missing function names `$LATEST` (facts section 1.2).

use hearth_functions::FunctionError;

/// Adds the qualifier to the ARN of a function that does not exist.
pub(super) fn or_latest<T>(result: Result<T, FunctionError>) -> Result<T, FunctionError> {
    result.map_err(|error| match error {
        FunctionError::NoFunction(arn) => FunctionError::NoFunction(format!("{arn}:$LATEST")),
        other => other,
    })
}
