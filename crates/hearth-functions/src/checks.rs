//! What holds before a function is written.

use rusqlite::Connection;

use crate::account::usage;
use crate::configuration::{State, UpdateStatus};
use crate::error::FunctionError;
use crate::limits::FunctionLimits;
use crate::owner::Owner;
use crate::version::FunctionVersion;

/// Refuses a change while a function is created or updated.
pub(crate) fn check_settled(latest: &FunctionVersion) -> Result<(), FunctionError> {
    let arn = latest.function_arn.clone();
    match (latest.state, latest.update_status) {
        (State::Pending, _) => Err(FunctionError::Pending(arn)),
        (_, Some(UpdateStatus::InProgress)) => Err(FunctionError::UpdateInProgress(arn)),
        _ => Ok(()),
    }
}

/// Refuses code and layers that are too large together.
pub(crate) fn check_unzipped(
    version: &FunctionVersion,
    limits: &FunctionLimits,
) -> Result<(), FunctionError> {
    let layers = version.configuration.layers.iter();
    let layers: u64 = layers.map(|layer| layer.unzipped_bytes).sum();
    if version.unzipped_bytes.saturating_add(layers) >= limits.unzipped_bytes {
        return Err(FunctionError::UnzippedTooLarge(limits.unzipped_bytes));
    }
    Ok(())
}

/// Refuses a zip that has no room in the account.
pub(crate) fn check_room(
    db: &Connection,
    owner: &Owner,
    limits: &FunctionLimits,
    bytes: u64,
) -> Result<(), FunctionError> {
    if usage(db, owner)?.code_bytes.saturating_add(bytes) > limits.code_storage_bytes {
        return Err(FunctionError::CodeStorageExceeded);
    }
    Ok(())
}
