//! `[images]`: settings of image builds.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The table `[images]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Images {
    /// Size limit of each account's cache of layers, in MiB; 0 disables it.
    pub(crate) layer_cache_mib: u32,
    /// Whether builders and applications start from templates of the booted guest.
    pub(crate) boot_templates: bool,
    /// Names in `FROM`, and the images that they stand for.
    pub(crate) aliases: BTreeMap<String, String>,
}

impl Default for Images {
    fn default() -> Self {
        Self {
            // Half of the disk that a build has: what is in the cache is missing there.
            layer_cache_mib: 4096,
            boot_templates: true,
            aliases: BTreeMap::new(),
        }
    }
}

impl Images {
    pub(super) fn problem(&self) -> Option<String> {
        let mut sides = self.aliases.iter();
        let (name, base) = sides.find(|(name, base)| name.is_empty() || base.is_empty())?;
        Some(format!(
            "images.aliases: \"{name}\" = \"{base}\" has an empty side"
        ))
    }
}

/// A name in `FROM` and the image that it stands for, written as `NAME=BASE`.
#[derive(Debug, Clone)]
pub(crate) struct ImageAlias {
    pub(crate) name: String,
    pub(crate) base: String,
}

impl FromStr for ImageAlias {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, base)) if !name.is_empty() && !base.is_empty() => Ok(Self {
                name: name.to_owned(),
                base: base.to_owned(),
            }),
            _ => Err("write NAME=BASE, for example python:3.11=hearth/python:3.11".to_owned()),
        }
    }
}
