//! ARNs of layer versions.

use std::fmt;
use std::str::FromStr;

use crate::owner::Owner;
use crate::reference::ReferenceError;

/// The ARN of a layer version: `arn:aws:lambda:REGION:ACCOUNT:layer:NAME:VERSION`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerArn {
    /// The owner.
    pub owner: Owner,
    /// The name of the layer.
    pub name: String,
    /// The version. Counts from one.
    pub version: u32,
}

impl fmt::Display for LayerArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.owner.layer_arn(&self.name), self.version)
    }
}

impl FromStr for LayerArn {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let malformed = ReferenceError::Malformed;
        let rest = text.strip_prefix("arn:aws:lambda:").ok_or(malformed)?;
        let parts: Vec<&str> = rest.split(':').collect();
        let [region, account, "layer", name, version] = parts[..] else {
            return Err(malformed);
        };
        Ok(Self {
            owner: Owner {
                account: account.to_owned(),
                region: region.to_owned(),
            },
            name: name.to_owned(),
            version: version.parse().map_err(|_| malformed)?,
        })
    }
}
