//! What a rebuild of an image version would update: the service lists the versions, this host's bases are compared.

use std::process::ExitCode;

use anyhow::Result;
use hearth_base::BaseVersion;
use hearth_image::Bases;
use serde::Serialize;
use serde_json::Value;

use crate::image::holding_name;
use crate::shared::Shared;
use crate::view::text;
use crate::{client, output};

/// A version of an image and the bases that it was built on.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Version {
    name: String,
    guest_base: String,
    base_images: String,
    /// Empty when a rebuild brings nothing new.
    rebuild_brings: Vec<String>,
}

/// The image versions of this data directory's service; `None` if no service answers, or not to this key.
pub(super) fn versions(
    shared: &Shared,
    bases: &[BaseVersion],
    images: Option<&Bases>,
) -> Option<Vec<Version>> {
    let mut usage = Value::Null;
    let asked = client::run(shared, async |client| {
        usage = client.disk_usage().await?;
        Ok(ExitCode::SUCCESS)
    });
    asked.ok()?;
    let newest = bases.last();
    let set = images.map(|images| images.id.as_str());
    let holdings = usage["holdings"].as_array()?;
    let versions = holdings
        .iter()
        .filter(|holding| text(holding, "kind") == "VERSION");
    Some(
        versions
            .map(|version| judge(version, bases, newest, set))
            .collect(),
    )
}

fn judge(
    version: &Value,
    bases: &[BaseVersion],
    newest: Option<&BaseVersion>,
    set: Option<&str>,
) -> Version {
    let (guest_base, base_images) = (text(version, "guestBase"), text(version, "baseImages"));
    let mut brings = Vec::new();
    if let Some(newest) = newest.filter(|newest| newest.id != guest_base) {
        let own = bases.iter().find(|base| base.id == guest_base);
        let kernel = |base: &BaseVersion| base.kernel_package_version.clone();
        match own {
            Some(own) if kernel(own) != kernel(newest) => {
                brings.push(format!("kernel {} after {}", kernel(newest), kernel(own)));
            }
            Some(_) => brings.push("a newer agent".to_owned()),
            None => brings.push(format!("kernel {} and its agent", kernel(newest))),
        }
    }
    if set.is_some_and(|set| set != base_images) {
        brings.push("newer base images".to_owned());
    }
    Version {
        name: holding_name(version),
        guest_base: guest_base.to_owned(),
        base_images: base_images.to_owned(),
        rebuild_brings: brings,
    }
}

pub(super) fn print(versions: &[Version]) -> Result<()> {
    if versions.is_empty() {
        return Ok(());
    }
    let rows: Vec<_> = versions
        .iter()
        .map(|version| {
            let brings = match version.rebuild_brings.as_slice() {
                [] => "nothing new".to_owned(),
                brings => brings.join(", "),
            };
            [
                version.name.clone(),
                version.guest_base.clone(),
                version.base_images.clone(),
                brings,
            ]
        })
        .collect();
    output::say("")?;
    output::table(
        ["VERSION", "BASE", "BASE IMAGES", "A REBUILD BRINGS"],
        &rows,
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn base(id: &str, kernel: &str) -> BaseVersion {
        let text = json!({
            "id": id, "kernel_package": "linux-image", "kernel_package_version": kernel,
            "kernel_release": kernel, "agent_version": "1", "agent_digest": "", "built_at": "",
        });
        serde_json::from_value(text).unwrap()
    }

    #[test]
    fn a_rebuild_brings_what_is_newer() {
        let bases = [
            base("old", "6.12.1"),
            base("agent", "6.12.2"),
            base("new", "6.12.2"),
        ];
        let brings = |guest_base: &str, base_images: &str| {
            let version = json!({
                "kind": "VERSION", "name": "arn:x:hello", "imageVersion": "1.0",
                "guestBase": guest_base, "baseImages": base_images,
            });
            let judged = judge(&version, &bases, bases.last(), Some("set"));
            assert_eq!(judged.name, "hello:1.0");
            judged.rebuild_brings
        };
        assert!(brings("new", "set").is_empty());
        assert_eq!(brings("agent", "set"), ["a newer agent"]);
        assert_eq!(
            brings("old", "other"),
            ["kernel 6.12.2 after 6.12.1", "newer base images"]
        );
        assert_eq!(brings("gone", "set"), ["kernel 6.12.2 and its agent"]);
    }
}
