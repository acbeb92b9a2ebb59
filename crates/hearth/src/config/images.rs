//! `[images]`: settings of image builds.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use hearth_image::{ArtifactLimits, BuildLimits, WORK_BYTES};
use serde::{Deserialize, Serialize};

/// The disk of a build holds its context, its layers, and the disk that is packed from them.
const WORK_DISK_MIB: u64 = WORK_BYTES >> 20;

/// Below this the builder itself runs short.
const LEAST_BUILDER_MIB: u32 = 512;

/// The table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Images {
    /// Size limit of each account's cache of layers, in MiB; 0 disables it.
    pub(crate) layer_cache_mib: u32,
    /// Whether builders and applications start from templates of the booted guest.
    pub(crate) boot_templates: bool,
    /// Largest zip of an image, in MiB.
    pub(crate) zip_mib: u32,
    /// What a zip may unpack to, in MiB.
    pub(crate) content_mib: u32,
    /// Files, folders and links of a zip.
    pub(crate) entries: u32,
    /// What a Dockerfile may add to its base, in MiB.
    pub(crate) layers_mib: u32,
    /// How long a Dockerfile may run.
    pub(crate) build_minutes: u32,
    /// RAM of builders, in MiB.
    pub(crate) builder_memory_mib: u32,
    /// Names in `FROM`, and the images that they mean.
    pub(crate) aliases: BTreeMap<String, String>,
}

impl Default for Images {
    fn default() -> Self {
        let (zip, build) = (ArtifactLimits::default(), BuildLimits::default());
        let mib = |bytes: u64| u32::try_from(bytes >> 20).unwrap_or(u32::MAX);
        Self {
            layer_cache_mib: 4096,
            boot_templates: true,
            zip_mib: mib(zip.archive_bytes),
            content_mib: mib(zip.content_bytes),
            entries: u32::try_from(zip.entries).unwrap_or(u32::MAX),
            layers_mib: mib(build.layer_bytes),
            build_minutes: u32::try_from(build.time.as_secs() / 60).unwrap_or(u32::MAX),
            builder_memory_mib: build.memory_mib,
            aliases: BTreeMap::new(),
        }
    }
}

impl Images {
    pub(crate) fn artifact_limits(&self) -> ArtifactLimits {
        ArtifactLimits {
            archive_bytes: u64::from(self.zip_mib) << 20,
            content_bytes: u64::from(self.content_mib) << 20,
            entries: usize::try_from(self.entries).unwrap_or(usize::MAX),
            ..ArtifactLimits::default()
        }
    }

    pub(crate) fn build_limits(&self) -> BuildLimits {
        BuildLimits {
            time: Duration::from_secs(u64::from(self.build_minutes) * 60),
            memory_mib: self.builder_memory_mib,
            layer_bytes: u64::from(self.layers_mib) << 20,
            ..BuildLimits::default()
        }
    }

    pub(super) fn problem(&self) -> Option<String> {
        let needed_mib = u64::from(self.content_mib) + 2 * u64::from(self.layers_mib);
        if needed_mib > WORK_DISK_MIB {
            return Some(format!(
                "images.content_mib and twice images.layers_mib are {needed_mib} MiB together, more than the \
                 {WORK_DISK_MIB} MiB of a build's disk"
            ));
        }
        if self.builder_memory_mib < LEAST_BUILDER_MIB {
            return Some(format!(
                "images.builder_memory_mib = {} is too little: a builder needs {LEAST_BUILDER_MIB}",
                self.builder_memory_mib
            ));
        }
        if self.build_minutes == 0 {
            return Some("images.build_minutes = 0 ends every build at once".to_owned());
        }
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
