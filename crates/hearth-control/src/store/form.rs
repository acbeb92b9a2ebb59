//! The stored form of what has too many parts for columns: JSON, apart from the domain's types so that
//! these can change while old files stay readable.
//!
//! A member that is added needs a default; a member that is there keeps its name and meaning.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::store::StoreError;

mod connector;
mod image;
pub(crate) mod microvm;

/// A domain type with a stored form.
pub(crate) trait Stored: Sized {
    /// What it is, for errors.
    const KIND: &'static str;
    /// The form.
    type Form: Serialize + DeserializeOwned;

    /// The form of a value.
    fn to_form(&self) -> Self::Form;

    /// The value of a form; `None` when a part of it means nothing.
    fn from_form(form: Self::Form) -> Option<Self>;

    /// The form as text. Equal values have equal texts.
    fn to_text(&self) -> Result<String, StoreError> {
        serde_json::to_string(&self.to_form()).map_err(|_| StoreError::Record { kind: Self::KIND })
    }

    /// The value of a text.
    fn from_text(text: &str) -> Result<Self, StoreError> {
        let form = serde_json::from_str(text).ok();
        form.and_then(Self::from_form)
            .ok_or(StoreError::Record { kind: Self::KIND })
    }
}

#[cfg(test)]
pub(super) mod tests;
