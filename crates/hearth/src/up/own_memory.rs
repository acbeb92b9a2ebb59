//! Has systemd bound what the service itself takes of the host's memory, as the configuration says.
//!
//! The unit has the bounds of the default configuration. They are the manager's to change, so it is asked: what a process writes into
//! its unit's control group, the next `systemctl daemon-reload` may undo.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::config::Config;

/// So many times what it may take, the service is ended and started anew; in between it is slowed down and its page cache goes.
pub(crate) const END_FACTOR: u64 = 2;

/// Bounds this process, if systemd runs it.
pub(super) fn bound(config: &Config) {
    let cgroup = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let main = std::env::var("SYSTEMD_EXEC_PID").ok();
    let Some(unit) = unit_of(&cgroup, main.as_deref(), std::process::id()) else {
        return;
    };
    let properties = properties(config);
    if let Err(error) = set(unit, &properties) {
        let command = format!("systemctl set-property {unit} {}", properties.join(" "));
        eprintln!(
            "the service's memory has the bounds of its unit and not those of the configuration ({error:#}); set them: {command}"
        );
    }
}

fn set(unit: &str, properties: &[String]) -> Result<()> {
    let output = Command::new("systemctl")
        .args(["set-property", "--runtime", unit])
        .args(properties)
        .output()
        .context("cannot run systemctl")?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// Without limits of microVMs, they are in the service's own group: then nothing may bound that.
fn properties(config: &Config) -> [String; 2] {
    let of = |factor: u64| match config.host_limits {
        true => (config.memory.service_bytes() * factor).to_string(),
        false => "infinity".to_owned(),
    };
    [
        format!("MemoryHigh={}", of(1)),
        format!("MemoryMax={}", of(END_FACTOR)),
    ]
}

/// The unit whose main process this is. Whoever is started from a shell below some unit is not meant: `SYSTEMD_EXEC_PID` tells
/// (systemd.exec(5)).
fn unit_of<'a>(cgroup: &'a str, main: Option<&str>, pid: u32) -> Option<&'a str> {
    if main?.parse() != Ok(pid) {
        return None;
    }
    let group = cgroup.lines().find_map(|line| line.strip_prefix("0::"))?;
    let (_, unit) = group.rsplit_once('/')?;
    unit.ends_with(".service").then_some(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CGROUP: &str = "1:name=systemd:/x.service\n0::/system.slice/hearth.service\n";

    #[test]
    fn a_unit_is_ones_own_or_none() {
        assert_eq!(unit_of(CGROUP, Some("7"), 7), Some("hearth.service"));
        // From a shell below that unit, or from none.
        assert_eq!(unit_of(CGROUP, Some("6"), 7), None);
        assert_eq!(unit_of(CGROUP, None, 7), None);
        let session = "0::/user.slice/user-0.slice/session-1.scope\n";
        assert_eq!(unit_of(session, Some("7"), 7), None);
        assert_eq!(unit_of("0::/\n", Some("7"), 7), None);
        assert_eq!(unit_of("", Some("7"), 7), None);
    }

    #[test]
    fn what_bounds_microvms_too_is_lifted() {
        let mut config = Config::default();
        let bounds = ["MemoryHigh=536870912", "MemoryMax=1073741824"];
        assert_eq!(properties(&config), bounds);
        config.host_limits = false;
        let lifted = ["MemoryHigh=infinity", "MemoryMax=infinity"];
        assert_eq!(properties(&config), lifted);
    }

    /// What a unit says that nobody configured is what the service would ask for.
    #[test]
    fn the_unit_has_the_bounds_of_the_default() {
        let unit = include_str!("../../../../packaging/hearth.service");
        let mib = Config::default().memory.service_mib;
        assert!(unit.contains(&format!("\nMemoryHigh={mib}M\n")), "{unit}");
        let end = u64::from(mib) * END_FACTOR;
        assert!(unit.contains(&format!("\nMemoryMax={end}M\n")), "{unit}");
    }
}
