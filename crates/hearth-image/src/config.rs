//! The configuration of an image: reads that of the OCI image specification (section "Image Configuration"), of which
//! Docker's is a superset.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// SIGTERM, Docker's default if the image names no stop signal.
const DEFAULT_STOP_SIGNAL: i32 = 15;

/// Largest configuration that is read, in bytes. Real ones are below 20 KiB; history makes them longer.
pub(crate) const MAX_CONFIG_BYTES: u64 = 4 << 20;

/// How the container of an image is started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerConfig {
    /// `ENTRYPOINT`, or nothing.
    pub entrypoint: Vec<String>,
    /// `CMD`: the arguments of the entrypoint, or the whole command.
    pub cmd: Vec<String>,
    /// `ENV`.
    pub env: BTreeMap<String, String>,
    /// `WORKDIR`; `/` when the image names none.
    pub working_dir: String,
    /// `USER` as the Dockerfile has it; empty is root.
    pub user: String,
    /// TCP ports of `EXPOSE`, in ascending order.
    pub exposed_ports: Vec<u16>,
    /// `STOPSIGNAL`, by number.
    pub stop_signal: i32,
}

/// Why a configuration is not valid.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The text is not an image configuration.
    #[error("the image's configuration does not parse")]
    Parse(#[from] serde_json::Error),
    /// The stop signal is not a known signal.
    #[error("the image's stop signal {0:?} is none")]
    StopSignal(String),
}

impl ContainerConfig {
    /// The command: entrypoint and arguments. Empty when the image names neither.
    pub fn argv(&self) -> Vec<String> {
        [self.entrypoint.as_slice(), self.cmd.as_slice()].concat()
    }

    /// Reads an image configuration (`application/vnd.oci.image.config.v1+json`, or Docker's).
    pub(crate) fn parse(text: &[u8]) -> Result<Self, ConfigError> {
        let ImageConfig { config } = serde_json::from_slice(text)?;
        let config = config.unwrap_or_default();
        let stop_signal = match config.stop_signal.as_deref().unwrap_or_default() {
            "" => DEFAULT_STOP_SIGNAL,
            name => signal_number(name).ok_or_else(|| ConfigError::StopSignal(name.to_owned()))?,
        };
        let working_dir = Some(config.working_dir.unwrap_or_default())
            .filter(|path| !path.is_empty())
            .unwrap_or_else(|| "/".to_owned());
        Ok(Self {
            entrypoint: config.entrypoint.unwrap_or_default(),
            cmd: config.cmd.unwrap_or_default(),
            env: environment(config.env.unwrap_or_default()),
            working_dir,
            user: config.user.unwrap_or_default(),
            exposed_ports: tcp_ports(&config.exposed_ports.unwrap_or_default()),
            stop_signal,
        })
    }
}

#[derive(Deserialize)]
struct ImageConfig {
    config: Option<RawConfig>,
}

/// The configuration as it is written: every member may be absent or `null`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawConfig {
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    env: Option<Vec<String>>,
    working_dir: Option<String>,
    user: Option<String>,
    exposed_ports: Option<BTreeMap<String, serde_json::Value>>,
    stop_signal: Option<String>,
}

/// Parses environment variables. Later definitions win; one without `=` defines an empty variable.
fn environment(pairs: Vec<String>) -> BTreeMap<String, String> {
    pairs
        .into_iter()
        .map(|pair| match pair.split_once('=') {
            Some((name, value)) => (name.to_owned(), value.to_owned()),
            None => (pair, String::new()),
        })
        .filter(|(name, _)| !name.is_empty())
        .collect()
}

/// Parses `8080` and `8080/tcp`. Other protocols are left out, as the endpoint reaches only TCP ports.
fn tcp_ports(exposed: &BTreeMap<String, serde_json::Value>) -> Vec<u16> {
    let mut ports: Vec<u16> = exposed
        .keys()
        .filter_map(|key| key.strip_suffix("/tcp").unwrap_or(key).parse().ok())
        .filter(|port| *port != 0)
        .collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// The number of a signal on x86-64 and aarch64 (signal(7)).
fn signal_number(name: &str) -> Option<i32> {
    const NAMES: [&str; 31] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
        "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
        "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
    ];
    /// Real-time signals, from the C library's `SIGRTMIN` to the last one.
    const REAL_TIME: std::ops::RangeInclusive<i32> = 34..=64;
    if let Ok(number) = name.parse() {
        return (1..=*REAL_TIME.end()).contains(&number).then_some(number);
    }
    let name = name.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    if let Some(above) = name.strip_prefix("RTMIN") {
        let above: i32 = if above.is_empty() {
            0
        } else {
            above.strip_prefix('+')?.parse().ok()?
        };
        let number = REAL_TIME.start().checked_add(above)?;
        return REAL_TIME.contains(&number).then_some(number);
    }
    let index = NAMES.iter().position(|known| *known == name)?;
    i32::try_from(index + 1).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_buildah_writes_is_read() {
        let text = br#"{"created":"2026-11-25T05:54:18Z","container_config":{"User":"wrong"},"config":{"Hostname":"6a364de3692e",
            "User":"web","ExposedPorts":{"8080/tcp":{},"53/udp":{},"443":{}},"Env":["PATH=/usr/bin:/bin","A=b=c","EMPTY","A=d"],
            "Cmd":["python3","app.py"],"Healthcheck":{"Test":["CMD-SHELL","true"]},"Volumes":{},"WorkingDir":"/app",
            "Entrypoint":[],"OnBuild":[],"Labels":{},"StopSignal":"SIGINT"},"architecture":"amd64","os":"linux"}"#;
        let config = ContainerConfig::parse(text).unwrap();
        let env = [("PATH", "/usr/bin:/bin"), ("A", "d"), ("EMPTY", "")];
        assert_eq!(
            config,
            ContainerConfig {
                entrypoint: vec![],
                cmd: vec!["python3".into(), "app.py".into()],
                env: env.map(|(name, value)| (name.into(), value.into())).into(),
                working_dir: "/app".into(),
                user: "web".into(),
                exposed_ports: vec![443, 8080],
                stop_signal: 2,
            }
        );
    }

    #[test]
    fn everything_may_be_missing() {
        for text in [
            "{}",
            r#"{"config":null}"#,
            r#"{"config":{"Env":null,"Cmd":null,"WorkingDir":""}}"#,
        ] {
            let config = ContainerConfig::parse(text.as_bytes()).unwrap();
            assert_eq!(config.argv(), Vec::<String>::new());
            assert_eq!(config.working_dir, "/");
            assert_eq!(config.stop_signal, 15);
        }
        assert!(ContainerConfig::parse(b"[]").is_err());
    }

    #[test]
    fn signals_have_names_and_numbers() {
        for (name, number) in [
            ("SIGKILL", 9),
            ("term", 15),
            ("10", 10),
            ("SIGSYS", 31),
            ("RTMIN+3", 37),
            ("SIGRTMIN", 34),
        ] {
            assert_eq!(signal_number(name), Some(number), "{name}");
        }
        for name in ["0", "65", "SIG", "SIGRTMIN+31", "RTMIN3", "none", "-1"] {
            assert_eq!(signal_number(name), None, "{name}");
        }
    }
}
