//! Changes of managed policies.

use crate::managed_policy::{ManagedPolicy, PolicyArn, PolicyVersion};
use crate::store::Result;
use crate::store::form::Stored as _;
use crate::store::primitive::{Rows, Write};

pub(super) fn put(policy: &ManagedPolicy) -> Result<Write> {
    Ok(Write::Put {
        table: "policy",
        key: &["arn"],
        columns: vec![
            ("arn", policy.arn.to_string().into()),
            ("account", policy.arn.account.to_string().into()),
            ("path", policy.arn.path.as_str().into()),
            ("name", policy.arn.name.as_str().into()),
            ("policy_id", policy.policy_id.as_str().into()),
            ("description", policy.description.as_deref().into()),
            ("default_version", policy.default_version.into()),
            ("last_version", policy.last_version.into()),
            ("tags", policy.tags.to_text()?.into()),
            ("created", policy.created_at.unix_ms().into()),
            ("updated", policy.updated_at.unix_ms().into()),
        ],
        updated: &["default_version", "last_version", "tags", "updated"],
    })
}

pub(super) fn remove(arn: &PolicyArn) -> Vec<Write> {
    let arn = arn.to_string();
    vec![
        Write::forget(Rows::of("policy_version").is("policy", arn.as_str())),
        Write::remove(Rows::of("policy").is("arn", arn)),
    ]
}

pub(super) fn add_version(arn: &PolicyArn, version: &PolicyVersion) -> Write {
    Write::Insert {
        table: "policy_version",
        columns: vec![
            ("policy", arn.to_string().into()),
            ("number", version.number.into()),
            ("document", version.document.as_str().into()),
            ("created", version.created_at.unix_ms().into()),
        ],
    }
}

pub(super) fn remove_version(arn: &PolicyArn, number: u32) -> Write {
    let versions = Rows::of("policy_version").is("policy", arn.to_string());
    Write::remove(versions.is("number", number))
}
