//! Lists the damaged files under `damaged/` of the data directory, and says how to repair or remove each.

use std::path::Path;

use anyhow::Result;
use hearth_emulated::{EmulatedHost, HostAgentClient};
use hearth_node::{Damage, damaged_in};
use hearth_wire::agent::ExitStatus;
use serde::Serialize;

use crate::host::{self, INNER_DATA};
use crate::shared::Shared;

/// Largest file with a reason that is read: it holds a sentence with a path or two.
const MAX_REASON_BYTES: usize = 64 << 10;

/// Prefix of the names of instances that are microVMs of the API.
const MICROVM: &str = "microvm-";

/// Prefixes of the names of instances that live no longer than a build.
const BUILD_INSTANCES: [&str; 3] = ["builder-", "build-", "validate-"];

/// Something damaged, for people and programs.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Damaged {
    path: String,
    instance: Option<String>,
    reason: String,
    /// Seconds since the epoch.
    found_at: u64,
    pub(crate) what_helps: String,
}

impl Damaged {
    pub(crate) fn new(damage: Damage, data: &Path) -> Self {
        Self {
            what_helps: what_helps(&damage, data),
            path: damage.path.display().to_string(),
            instance: damage.instance,
            reason: damage.reason,
            found_at: damage.found_at,
        }
    }

    /// Its path, its owner, and what is wrong with it.
    pub(crate) fn sentence(&self) -> String {
        let owner = self.instance.as_deref().unwrap_or("owner unknown");
        format!("{} ({owner}): {}", self.path, self.reason)
    }
}

/// Everything that was set aside by the service of this data directory, here or in its emulated host.
pub(crate) fn read(shared: &Shared) -> Result<Vec<Damaged>> {
    let (damaged, data) = match EmulatedHost::attach(&host::state_dir(shared)) {
        Some(host) => (inside(&host.agent())?, Path::new(INNER_DATA).to_owned()),
        None => {
            let data = std::path::absolute(&shared.data)?;
            (damaged_in(&data)?, data)
        }
    };
    let damaged = damaged.into_iter();
    Ok(damaged.map(|damage| Damaged::new(damage, &data)).collect())
}

fn inside(agent: &HostAgentClient) -> Result<Vec<Damage>> {
    let directory = Path::new(INNER_DATA).join(Damage::DIRECTORY);
    let list = ["/bin/busybox", "ls", "-1", &directory.display().to_string()];
    let list = list.map(str::to_owned).to_vec();
    let (mut names, mut said) = (Vec::new(), Vec::new());
    let status = agent.exec(host::spec(list), None, &mut names, &mut said)?;
    if status != ExitStatus::Code(0) {
        // There is no such directory: nothing was ever damaged.
        return Ok(Vec::new());
    }
    let names = String::from_utf8_lossy(&names).into_owned();
    let told = names.lines().map(|name| {
        let path = directory.join(name);
        let reason = path.join(Damage::REASON_FILE).display().to_string();
        let reason = agent.read_file(&reason, MAX_REASON_BYTES).ok();
        Damage::told(path, reason.as_deref())
    });
    Ok(told.collect())
}

fn what_helps(damage: &Damage, data: &Path) -> String {
    let path = damage.path.display();
    let remove = format!("rm -r {path}");
    let owner = damage.instance.as_deref().unwrap_or_default();
    let Some(home) = damage.home() else {
        return remove;
    };
    let is_instance = home.starts_with("machines");
    if is_instance && BUILD_INSTANCES.iter().any(|begin| owner.starts_with(begin)) {
        return format!("nothing of a build is in it that the next one does not make; {remove}");
    }
    let home = data.join(home);
    let repair = format!(
        "repair the file, from a backup perhaps, stop the service, and mv {path} {}",
        home.display()
    );
    match owner.starts_with(MICROVM) {
        // After the microVM has ended the service would take the repaired files for an orphan and remove them.
        true => format!(
            "while the microVM is SUSPENDED: {repair}; when it has ended: copy what you need, and {remove}"
        ),
        false => format!("{repair}; or {remove}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn help(label: &str, instance: &str) -> String {
        let path = Path::new("/data/damaged").join(label);
        let reason = format!(r#"{{"instance":"{instance}","reason":"torn","found_at":1}}"#);
        let damage = Damage::told(path, Some(reason.as_bytes()));
        Damaged::new(damage, Path::new("/data")).what_helps
    }

    #[test]
    fn only_what_would_be_taken_up_again_is_to_be_moved_back() {
        let template = help("snapshot-12.2", "build-7");
        assert!(
            template.contains("mv /data/damaged/snapshot-12.2 /data/snapshots/12;"),
            "{template}"
        );
        let by_hand = help("instance-first", "first");
        assert!(by_hand.contains(" /data/machines/first;"), "{by_hand}");
        for label in ["snapshot-12", "instance-microvm-7"] {
            let help = help(label, "microvm-7");
            assert!(
                help.starts_with("while the microVM is SUSPENDED: "),
                "{help}"
            );
            assert!(
                help.contains(&format!("mv /data/damaged/{label} ")),
                "{help}"
            );
        }
        let builder = help("instance-builder-7", "builder-7");
        assert!(!builder.contains("mv "), "{builder}");
        assert!(
            builder.ends_with("rm -r /data/damaged/instance-builder-7"),
            "{builder}"
        );
    }

    #[test]
    fn a_thing_without_a_reason_is_told_too() {
        let path = Path::new("/data/damaged/lost+found").to_owned();
        let damaged = Damaged::new(Damage::told(path, None), Path::new("/data"));
        assert!(damaged.sentence().contains("(owner unknown): the reason"));
        assert_eq!(damaged.what_helps, "rm -r /data/damaged/lost+found");
    }
}
