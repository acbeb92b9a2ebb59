//! Who owns functions and layers.

use std::fmt;

/// The owner of functions and layers. An owner sees only its own, and those layers that others let it use.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner {
    /// The account: twelve digits.
    pub account: String,
    /// The region.
    pub region: String,
}

impl Owner {
    /// The unqualified ARN of a function.
    #[must_use]
    pub fn function_arn(&self, name: &str) -> String {
        format!("{self}:function:{name}")
    }

    /// The ARN of a layer, without a version.
    #[must_use]
    pub fn layer_arn(&self, name: &str) -> String {
        format!("{self}:layer:{name}")
    }
}

/// The beginning of every ARN of the owner.
impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "arn:aws:lambda:{}:{}", self.region, self.account)
    }
}
