//! Names and identifiers of resources, in the forms of AWS.
//!
//! Each type accepts one form only, so code behind the edge never checks an identifier again.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use uuid::{Builder, Uuid};

/// A text is not an identifier of the expected kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not a valid {kind}")]
pub struct IdError {
    /// The expected kind.
    pub kind: &'static str,
}

/// An AWS account number: exactly twelve digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountId(u64);

impl AccountId {
    /// The account that exists from the first start on.
    pub const FIRST: Self = Self(0);
    /// One more than the largest number of twelve digits.
    const END: u64 = 1_000_000_000_000;

    /// The account with this number. `None` if the number has more than twelve digits.
    #[must_use]
    pub const fn from_number(number: u64) -> Option<Self> {
        if number < Self::END {
            Some(Self(number))
        } else {
            None
        }
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:012}", self.0)
    }
}

impl FromStr for AccountId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let digits = text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = if digits { text.parse().ok() } else { None };
        number.map(Self).ok_or(IdError { kind: "account id" })
    }
}

/// Defines an identifier that is a short text over a closed alphabet.
macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $max:literal, $allowed:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// The text itself.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let allowed: fn(u8) -> bool = $allowed;
                if text.is_empty() || text.len() > $max || !text.bytes().all(allowed) {
                    return Err(IdError { kind: $kind });
                }
                Ok(Self(text.to_owned()))
            }
        }
    };
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

text_id!(
    /// A region such as `us-east-1`. Hearth takes whatever name the operator chose.
    Region,
    "region",
    32,
    |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'
);

text_id!(
    /// The name of an image: 1-64 of `[a-zA-Z0-9-_]`, unique in its account and region.
    ImageName,
    "image name",
    64,
    is_name_byte
);

text_id!(
    /// The name of a network connector: 1-64 of `[a-zA-Z0-9_-]`.
    ConnectorName,
    "network connector name",
    64,
    is_name_byte
);

text_id!(
    /// The public half of an access key, as it appears in a signature's credential scope.
    AccessKeyId,
    "access key id",
    128,
    |byte| byte.is_ascii_alphanumeric() || byte == b'_'
);

text_id!(
    /// The name of an IAM role: 1-64 of `[\w+=,.@-]`.
    RoleName,
    "role name",
    64,
    |byte| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte)
);

text_id!(
    /// The name of a managed IAM policy: 1-128 of `[\w+=,.@-]`.
    PolicyName,
    "policy name",
    128,
    |byte| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte)
);

/// Defines an identifier that is a UUID behind a fixed prefix.
macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Uuid);

        impl $name {
            /// Generates a new, random identifier.
            #[must_use]
            pub fn generate() -> Self {
                Self(random_uuid())
            }

            /// The UUID behind the prefix.
            #[must_use]
            pub fn uuid(&self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0.hyphenated())
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let error = IdError { kind: $kind };
                let rest = text.strip_prefix($prefix).ok_or(error)?;
                let uuid = Uuid::try_parse(rest).map_err(|_| error)?;
                // Other spellings of the same UUID would not match policies that name the canonical one.
                let mut canonical = Uuid::encode_buffer();
                let is_canonical = rest == uuid.hyphenated().encode_lower(&mut canonical);
                is_canonical.then_some(Self(uuid)).ok_or(error)
            }
        }
    };
}

/// AWS shows UUIDs whose version nibble is 3 (name-based). Clients may match on it, so random UUIDs get it too.
fn random_uuid() -> Uuid {
    Builder::from_md5_bytes(*Uuid::new_v4().as_bytes()).into_uuid()
}

uuid_id!(
    /// The id of a microVM: `microvm-<uuid>`.
    MicrovmId,
    "microVM id",
    "microvm-"
);
uuid_id!(
    /// The first label of a microVM's endpoint. Unrelated to its [`MicrovmId`].
    EndpointId,
    "endpoint id",
    ""
);
uuid_id!(
    /// The internal id of an image. An image that is deleted and created again under the same name has another one.
    ImageId,
    "image id",
    ""
);
uuid_id!(
    /// The id of one build of one image version.
    BuildId,
    "build id",
    ""
);
uuid_id!(
    /// The id of a network connector of an account: `nc-<uuid>`.
    ConnectorId,
    "network connector id",
    "nc-"
);

/// The version of an image: "1.0", "2.0", ... Every update takes the next number, even if it fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VersionNumber(u32);

impl VersionNumber {
    /// The version that the first build of an image makes.
    pub const FIRST: Self = Self(1);

    /// The version with this major number, counted from one. `None` for zero.
    #[must_use]
    pub const fn from_major(major: u32) -> Option<Self> {
        if major == 0 { None } else { Some(Self(major)) }
    }

    /// The major number, before the dot.
    #[must_use]
    pub const fn major(self) -> u32 {
        self.0
    }

    /// The version that the next update makes.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for VersionNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.0", self.0)
    }
}

impl FromStr for VersionNumber {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let error = IdError {
            kind: "image version",
        };
        let major = text.strip_suffix(".0").ok_or(error)?;
        // "+1.0" and "01.0" parse as numbers but are not the canonical form.
        if !major.bytes().all(|byte| byte.is_ascii_digit()) || major.starts_with('0') {
            return Err(error);
        }
        major.parse().ok().and_then(Self::from_major).ok_or(error)
    }
}

#[cfg(test)]
mod tests;
