//! What environment variables and logging settings may be.

use std::collections::BTreeMap;

use crate::configuration::{LogFormat, Logging};
use crate::error::FunctionError;

/// Variables that the service sets itself (facts section 3.4).
const RESERVED: &[&str] = &[
    "_HANDLER",
    "_X_AMZN_TRACE_ID",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_LAMBDA_METADATA_API",
    "AWS_LAMBDA_METADATA_TOKEN",
    "AWS_LAMBDA_MAX_CONCURRENCY",
    "AWS_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "LAMBDA_TASK_ROOT",
    "LAMBDA_RUNTIME_DIR",
];

/// Most bytes of all variables as compact JSON.
const MAX_BYTES: usize = 4096;

/// Refuses variables that the service sets itself, and too many bytes.
///
/// # Errors
///
/// [`FunctionError::ReservedVariables`] or [`FunctionError::EnvironmentTooLarge`].
pub fn check_environment(variables: &BTreeMap<String, String>) -> Result<(), FunctionError> {
    let reserved = variables
        .keys()
        .filter(|key| RESERVED.contains(&key.as_str()));
    let reserved: Vec<String> = reserved.cloned().collect();
    if !reserved.is_empty() {
        return Err(FunctionError::ReservedVariables(reserved));
    }
    let json = serde_json::to_string(variables)?;
    if json.len() > MAX_BYTES {
        return Err(FunctionError::EnvironmentTooLarge(json));
    }
    Ok(())
}

/// Completes logging settings: JSON has levels, text has none.
///
/// # Errors
///
/// [`FunctionError::LevelsOfText`] or [`FunctionError::ReservedLogGroup`].
pub fn check_logging(logging: &mut Logging, has_levels: bool) -> Result<(), FunctionError> {
    if logging.group.starts_with("aws/") {
        return Err(FunctionError::ReservedLogGroup);
    }
    match logging.format {
        LogFormat::Text if has_levels => Err(FunctionError::LevelsOfText),
        LogFormat::Text => {
            (logging.application_level, logging.system_level) = (None, None);
            Ok(())
        }
        LogFormat::Json => {
            let info = || "INFO".to_owned();
            logging.application_level.get_or_insert_with(info);
            logging.system_level.get_or_insert_with(info);
            Ok(())
        }
    }
}
