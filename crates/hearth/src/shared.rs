//! Settings of every command: the options of [`GlobalArguments`] over the configuration file.

use std::path::PathBuf;

use crate::cli::GlobalArguments;
use crate::config::{Config, ConfigError};

/// The global options, resolved with the configuration file.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    /// The data directory.
    pub(crate) data: PathBuf,
    /// Whether to print JSON.
    pub(crate) json: bool,
    /// The configuration file, `data` as above.
    pub(crate) config: Config,
}

impl Shared {
    /// Reads the configuration file.
    pub(crate) fn new(global: GlobalArguments) -> Result<Self, ConfigError> {
        let mut config = Config::load(global.config.as_deref())?;
        if let Some(data) = global.data {
            config.data = data;
        }
        Ok(Self {
            data: config.data.clone(),
            json: global.json,
            config,
        })
    }
}
