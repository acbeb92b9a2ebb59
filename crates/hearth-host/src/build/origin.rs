//! The base versions that an image version was built on, written to a file beside its layers for operators.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Name of the file in the build's directory.
const FILE: &str = "version.json";

/// The image, number and bases of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Origin {
    /// ARN of the image.
    pub image: String,
    /// Number of the version.
    pub version: String,
    /// Kernel and agent of its guests.
    pub guest_base: String,
    /// The set of base images below its layers.
    pub base_images: String,
}

impl Origin {
    /// Writes the file. Nothing depends on it, so it is not synced.
    pub(crate) fn write(&self, place: &Path) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(self).map_err(io::Error::other)?;
        fs::write(place.join(FILE), text)
    }

    /// Reads the file of the version whose files are in `place`. `None` if it does not exist: earlier releases did not
    /// write it.
    pub fn read(place: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(place.join(FILE)).ok()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_absence_is_no_error() {
        let place = tempfile::tempdir().unwrap();
        assert_eq!(Origin::read(place.path()), None);
        let origin = Origin {
            image: "arn".to_owned(),
            version: "1.0".to_owned(),
            guest_base: "6.12".to_owned(),
            base_images: "0123".to_owned(),
        };
        origin.write(place.path()).unwrap();
        assert_eq!(Origin::read(place.path()), Some(origin));
    }
}
