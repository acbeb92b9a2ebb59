//! Managed policies of an account, with their versions.

use std::fmt;
use std::str::FromStr;

use crate::arn::ArnError;
use crate::id::{AccountId, PolicyName};
use crate::image::Tags;
use crate::time::Timestamp;

/// Versions of one policy at one time. AWS: 5, which cannot be raised.
pub const MAX_POLICY_VERSIONS: u32 = 5;

/// Managed policies of one account. AWS: 1500. With five versions of 6,144 characters each they take 46 MB.
pub const MAX_POLICIES: u32 = 1500;

/// Managed policies attached to one role. AWS: 10. All are read and evaluated for every request of the role.
pub const MAX_ATTACHED_POLICIES: u32 = 10;

/// The ARN of a managed policy of an account: `arn:aws:iam::<account>:policy/<path/><name>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PolicyArn {
    /// The account that the policy belongs to. Policies have no region.
    pub account: AccountId,
    /// The path, from `/` to `/`.
    pub path: String,
    /// The name, unique in the account whatever the path.
    pub name: PolicyName,
}

impl fmt::Display for PolicyArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            account,
            path,
            name,
        } = self;
        write!(f, "arn:aws:iam::{account}:policy{path}{name}")
    }
}

impl FromStr for PolicyArn {
    type Err = ArnError;

    fn from_str(text: &str) -> Result<Self, ArnError> {
        let rest = text
            .strip_prefix("arn:aws:iam::")
            .ok_or(ArnError::Foreign)?;
        let (account, rest) = rest.split_once(":policy").ok_or(ArnError::Resource)?;
        let (path, name) = rest.rsplit_once('/').ok_or(ArnError::Resource)?;
        let path = format!("{path}/");
        if !path.starts_with('/') || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ArnError::Resource);
        }
        Ok(Self {
            account: account.parse().map_err(|_| ArnError::Foreign)?,
            path,
            name: name.parse().map_err(|_| ArnError::Resource)?,
        })
    }
}

/// A managed policy of an account. Its documents are in its versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManagedPolicy {
    /// The ARN.
    pub arn: PolicyArn,
    /// The unique id, `ANPA...`: a policy that is deleted and created again has another one.
    pub policy_id: String,
    /// The description, free text. It never changes.
    pub description: Option<String>,
    /// The number of the version that is in force.
    pub default_version: u32,
    /// The greatest number that a version ever had: numbers are not given twice.
    pub last_version: u32,
    /// The tags.
    pub tags: Tags,
    /// When the policy was created.
    pub created_at: Timestamp,
    /// When its latest version was created.
    pub updated_at: Timestamp,
}

/// A managed policy as it is looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundPolicy {
    /// The policy.
    pub policy: ManagedPolicy,
    /// How many roles it is attached to.
    pub attachments: u32,
}

/// One version of a managed policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyVersion {
    /// The number, counted from one.
    pub number: u32,
    /// The policy document in JSON.
    pub document: String,
    /// When the version was created.
    pub created_at: Timestamp,
}

/// The input of `CreatePolicy`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatePolicy {
    /// The ARN.
    pub arn: PolicyArn,
    /// The description, free text.
    pub description: Option<String>,
    /// The document of the first version, in JSON.
    pub document: String,
    /// The tags.
    pub tags: Tags,
}

/// Why an operation on a managed policy is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyRefusal {
    /// The policy does not exist in the account, or is not attached to the role.
    NotFound,
    /// The account has a policy of this name already.
    Exists,
    /// There is no such policy to attach.
    NotAttachable,
    /// A role still has the policy.
    Attached,
    /// The policy still has versions besides the one in force.
    HasVersions,
    /// The policy has no version of this number.
    VersionNotFound(u32),
    /// The version in force cannot be deleted alone.
    DefaultVersion,
    /// The policy has as many versions as it can have.
    VersionQuota,
    /// The account has as many policies as it can have.
    Quota,
}

/// Which managed policies are listed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PolicyFilter {
    /// The beginning of their paths. Empty for all.
    pub path_prefix: String,
    /// Only those that are attached to a role.
    pub only_attached: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arns_of_policies() {
        let path = |text: &str| text.parse::<PolicyArn>().map(|arn| arn.path);
        for (text, path_of_it) in [
            ("arn:aws:iam::000000000007:policy/p", "/"),
            ("arn:aws:iam::000000000007:policy/a/b/p", "/a/b/"),
        ] {
            assert_eq!(path(text).unwrap(), path_of_it);
            assert_eq!(text.parse::<PolicyArn>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "arn:aws:iam::aws:policy/AdministratorAccess",
            "arn:aws:iam::7:policy/p",
            "arn:aws:iam::000000000007:policyp",
            "arn:aws:iam::000000000007:policyp/p",
            "arn:aws:iam::000000000007:policy/",
            "arn:aws:iam::000000000007:role/p",
            "arn:aws:iam::000000000007:policy/a b/p",
        ] {
            assert!(text.parse::<PolicyArn>().is_err(), "{text}");
        }
    }
}
