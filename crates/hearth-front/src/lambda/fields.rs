//! Reading an input that the model has already accepted.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::fault::Fault;

/// The input as the operation's own type. The table has checked every type that it names, so a
/// failure is a table that misses something; it is told to the client as unparseable.
pub(crate) fn read<T: DeserializeOwned>(input: Value) -> Result<T, Fault> {
    serde_json::from_value(input).map_err(|error| {
        tracing::warn!(%error, "an accepted input could not be read");
        Fault::unparseable()
    })
}
