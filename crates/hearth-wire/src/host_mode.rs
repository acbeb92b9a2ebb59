//! Settings of an agent that is PID 1 of the emulated host.
//!
//! They lie in the initramfs at [`HOST_MODE_CONFIG`] (mode 0600), as lines of `key=value`. The agent needs no
//! JSON parser for them: every clone pays for the agent's size. Unknown keys are ignored, so that either side
//! can be newer than the other.
//!
//! ```text
//! port=1024
//! token=<64 hexadecimal digits>
//! hold_vm=1
//! ```

use crate::agent::Token;

/// Path of the settings file. An agent without this file runs in guest mode.
pub const HOST_MODE_CONFIG: &str = "/etc/hearth/host.conf";

/// A shell script that the agent of an emulated host runs (with `/bin/busybox sh`) when its file systems are
/// mounted and its modules loaded, and before it listens.
pub const HOST_SETUP_SCRIPT: &str = "/etc/hearth/host-setup";

/// Settings of an agent in an emulated host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostModeConfig {
    /// TCP port to listen on.
    pub port: u16,
    /// The token that every [`crate::agent::Open`] must carry.
    pub token: Token,
    /// Keeps one idle KVM machine open, so that KVM's static keys are not patched while two emulated CPUs run.
    pub hold_vm: bool,
}

/// Why a settings file is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostModeConfigError {
    /// A required key is missing.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// A value does not parse.
    #[error("`{0}` has a value that is not understood")]
    Invalid(&'static str),
}

impl HostModeConfig {
    /// Reads the lines of a settings file.
    pub fn parse(text: &str) -> Result<Self, HostModeConfigError> {
        let value = |key: &'static str| {
            text.lines()
                .filter_map(|line| line.split_once('='))
                .find(|(name, _)| name.trim() == key)
                .map(|(_, value)| value.trim())
        };
        let port = value("port").ok_or(HostModeConfigError::Missing("port"))?;
        let token = value("token").ok_or(HostModeConfigError::Missing("token"))?;
        let hold_vm = match value("hold_vm") {
            None | Some("0") => false,
            Some("1") => true,
            Some(_) => return Err(HostModeConfigError::Invalid("hold_vm")),
        };
        Ok(Self {
            port: port
                .parse()
                .map_err(|_| HostModeConfigError::Invalid("port"))?,
            token: parse_token(token).ok_or(HostModeConfigError::Invalid("token"))?,
            hold_vm,
        })
    }

    /// The lines of a settings file. They contain the token, which is a secret.
    pub fn to_text(&self) -> String {
        let token: String = self
            .token
            .0
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!(
            "port={}\ntoken={token}\nhold_vm={}\n",
            self.port,
            u8::from(self.hold_vm)
        )
    }
}

fn parse_token(hex: &str) -> Option<Token> {
    let digits: Vec<u32> = hex
        .chars()
        .map(|digit| digit.to_digit(16))
        .collect::<Option<_>>()?;
    let mut token = [0; 32];
    if digits.len() != 2 * token.len() {
        return None;
    }
    for (byte, pair) in token.iter_mut().zip(digits.chunks_exact(2)) {
        // Two hexadecimal digits fit a byte.
        *byte = (pair[0] << 4 | pair[1]) as u8;
    }
    Some(Token(token))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn unknown_keys_are_ignored() {
        let token = "0f".repeat(32);
        let config = HostModeConfig::parse(&format!("later=x\nport=7\ntoken={token}\n")).unwrap();
        assert_eq!(
            (config.port, config.token.0[0], config.hold_vm),
            (7, 15, false)
        );
    }

    #[test]
    fn a_short_or_foreign_token_is_refused() {
        for token in ["00", &"zz".repeat(32), &"é".repeat(32)] {
            assert_eq!(
                HostModeConfig::parse(&format!("port=1\ntoken={token}")),
                Err(HostModeConfigError::Invalid("token"))
            );
        }
    }

    proptest! {
        #[test]
        fn settings_survive_their_file(port: u16, token: [u8; 32], hold_vm: bool) {
            let config = HostModeConfig { port, token: Token(token), hold_vm };
            prop_assert_eq!(HostModeConfig::parse(&config.to_text()), Ok(config));
        }
    }
}
