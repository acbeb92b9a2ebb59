//! Refuses members of requests about functions that functions cannot have yet, by name. A member that asks for nothing passes.

use serde_json::Value;

use crate::fault::Fault;
use crate::model::Input;

/// Members that are refused, with the values that are no wish.
const MEMBERS: &[(&str, &[&str])] = &[
    ("PublishTo", &[]),
    ("VpcConfig", &[]),
    ("PackageType", &["Zip"]),
    ("DeadLetterConfig", &[]),
    ("KMSKeyArn", &[]),
    ("FileSystemConfigs", &[]),
    ("CodeSigningConfigArn", &[]),
    ("ImageConfig", &[]),
    ("SnapStart", &["None"]),
    ("CapacityProviderConfig", &[]),
    ("DurableConfig", &[]),
    ("RuntimeConfig", &[]),
    ("AcceleratorConfig", &[]),
    ("S3ObjectVersion", &[]),
    ("S3ObjectStorageMode", &["COPY"]),
    ("ImageUri", &[]),
    ("SourceKMSKeyArn", &[]),
    ("DestinationConfig", &[]),
    ("MasterRegion", &["ALL"]),
];

/// Structures of a request in which such members are looked for too.
const INSIDE: &[&str] = &["Code", "Content"];

/// Refuses a request that asks for something which functions cannot have yet.
///
/// # Errors
///
/// The name of the member.
pub(super) fn refuse_unsupported(input: &Input) -> Result<(), Fault> {
    let inside = INSIDE
        .iter()
        .filter_map(|name| input.get(*name)?.as_object());
    for members in std::iter::once(input).chain(inside) {
        let asks = |(name, idle): &&(&str, &[&str])| {
            members.get(*name).is_some_and(|value| asks(value, idle))
        };
        if let Some((name, _)) = MEMBERS.iter().find(asks) {
            let text = format!(
                "{name} is not supported by this Hearth installation. Send the request without it."
            );
            return Err(Fault::new(400, "InvalidParameterValueException", text));
        }
    }
    Ok(())
}

/// Whether a value asks for anything: the empty ones clear what functions here never have.
fn asks(value: &Value, idle: &[&str]) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(is_wanted) => *is_wanted,
        Value::Number(_) => true,
        Value::String(text) => !text.is_empty() && !idle.contains(&text.as_str()),
        Value::Array(items) => items.iter().any(|item| asks(item, idle)),
        Value::Object(members) => members.values().any(|member| asks(member, idle)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(input: &Value) -> Option<String> {
        let refused = refuse_unsupported(input.as_object().unwrap());
        refused.err().and_then(|fault| fault.message)
    }

    #[test]
    fn wishes_are_refused_by_name() {
        for (name, value) in [
            ("VpcConfig", json!({"SubnetIds": ["subnet-1"]})),
            ("PackageType", json!("Image")),
            ("SnapStart", json!({"ApplyOn": "PublishedVersions"})),
            ("DeadLetterConfig", json!({"TargetArn": "arn:aws:sqs:x"})),
            (
                "DestinationConfig",
                json!({"OnFailure": {"Destination": "arn"}}),
            ),
        ] {
            let message = refused(&json!({name: value})).unwrap();
            assert!(message.starts_with(&format!("{name} is not")), "{message}");
        }
        let image = json!({"Code": {"ImageUri": "registry/image:1"}});
        assert!(refused(&image).unwrap().starts_with("ImageUri"));
    }

    /// What Terraform and SAM send for functions that have none of it.
    #[test]
    fn what_clears_passes() {
        let input = json!({
            "VpcConfig": {"SubnetIds": [], "SecurityGroupIds": []},
            "DeadLetterConfig": {"TargetArn": ""},
            "KMSKeyArn": "",
            "FileSystemConfigs": [],
            "PackageType": "Zip",
            "SnapStart": {"ApplyOn": "None"},
            "DestinationConfig": {"OnFailure": {}, "OnSuccess": {}},
            "Code": {"S3ObjectStorageMode": "COPY"},
            "MasterRegion": "ALL",
        });
        assert_eq!(refused(&input), None);
    }
}
