//! The stored form of values that have too many parts for columns: JSON. These types are apart from the domain's
//! types, so that those can change while old files stay readable.
//!
//! A new member needs a default. An existing member keeps its name and meaning.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::store::StoreError;

mod connector;
mod image;
pub(crate) mod microvm;
mod tags;

/// A domain type with a stored form.
pub(crate) trait Stored: Sized {
    /// The kind of the value, for errors.
    const KIND: &'static str;
    /// The stored form.
    type Form: Serialize + DeserializeOwned;

    /// Converts a value to its stored form.
    fn to_form(&self) -> Self::Form;

    /// Converts a stored form to a value. `None` if a part of it is invalid.
    fn from_form(form: Self::Form) -> Option<Self>;

    /// Writes the stored form as text. Equal values have equal texts.
    fn to_text(&self) -> Result<String, StoreError> {
        serde_json::to_string(&self.to_form()).map_err(|_| StoreError::Record { kind: Self::KIND })
    }

    /// Reads a value from its text.
    fn from_text(text: &str) -> Result<Self, StoreError> {
        let form = serde_json::from_str(text).ok();
        form.and_then(Self::from_form)
            .ok_or(StoreError::Record { kind: Self::KIND })
    }
}

#[cfg(test)]
pub(super) mod tests;
