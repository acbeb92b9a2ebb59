//! Stored form of the tags of roles and managed policies: an object.

use super::Stored;
use crate::image::Tags;

impl Stored for Tags {
    const KIND: &'static str = "tags";
    type Form = Self;

    fn to_form(&self) -> Self {
        self.clone()
    }

    fn from_form(form: Self) -> Option<Self> {
        Some(form)
    }
}
