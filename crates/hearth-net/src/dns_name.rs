//! A DNS name as its labels. Names are never compared as text, in which a dot may be part of a label.

use std::fmt;

/// The labels of a name from left to right, in lower case.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct DnsName(Vec<Vec<u8>>);

impl DnsName {
    /// The name with these labels.
    pub(crate) fn of_labels<'a>(labels: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let labels = labels.into_iter();
        Self(labels.map(<[u8]>::to_ascii_lowercase).collect())
    }

    /// Whether the last labels are these. They have to be in lower case.
    pub(crate) fn ends_with<'a>(&self, labels: impl DoubleEndedIterator<Item = &'a [u8]>) -> bool {
        let mut own = self.0.iter().rev();
        labels
            .rev()
            .all(|label| own.next().is_some_and(|own| own == label))
    }
}

impl fmt::Debug for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for label in &self.0 {
            write!(f, "{}.", label.escape_ascii())?;
        }
        Ok(())
    }
}
