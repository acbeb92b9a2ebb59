//! The indexes of a containers/storage store (overlay driver): which layers an image consists of.
//!
//! ```text
//! overlay-images/images.json      [{"id", "names", "layer": id of the top layer}, ...]
//! overlay-images/<id>/=<base64>   configuration; the name is that of the "big data" item `sha256:<id>`
//! overlay-layers/layers.json      [{"id", "parent"}, ...]
//! overlay/<layer id>/diff/        what the layer adds: an overlayfs lower directory
//! ```
//!
//! The builder's output is not trusted: ids are checked before they become parts of paths, and the length of chains is
//! bounded.

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Largest index that is read, in bytes: thousands of layers.
pub(crate) const MAX_INDEX_BYTES: u64 = 8 << 20;

/// Most layers of one image. The agent stacks at most 128 directories. A Dockerfile with more instructions that write
/// files should be split into stages.
const MAX_LAYERS: usize = 120;

/// Why the indexes of a store are not valid.
#[derive(Debug, thiserror::Error)]
pub enum BuildahStoreError {
    /// An index cannot be parsed.
    #[error("an index of the image store does not parse")]
    Parse(#[from] serde_json::Error),
    /// An id is not a SHA-256 in hexadecimal.
    #[error("the image store names something {0:?}")]
    Id(String),
    /// An image is not in the index.
    #[error("the image store does not list the image {0}")]
    UnknownImage(String),
    /// A layer is not in the index.
    #[error("the image store does not list the layer {0}")]
    UnknownLayer(String),
    /// A chain of layers is too long or circular.
    #[error(
        "the image has more than {MAX_LAYERS} layers; join RUN and COPY instructions or use a stage"
    )]
    TooManyLayers,
}

/// Id of an image or of a layer: 64 hexadecimal digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Id(String);

impl Id {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Id {
    type Error = BuildahStoreError;

    fn try_from(text: String) -> Result<Self, BuildahStoreError> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() == 64 && text.bytes().all(is_digit) {
            Ok(Self(text))
        } else {
            Err(BuildahStoreError::Id(text.chars().take(80).collect()))
        }
    }
}

impl From<Id> for String {
    fn from(id: Id) -> Self {
        id.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An entry of `images.json`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Image {
    pub(crate) id: Id,
    #[serde(default)]
    pub(crate) names: Vec<String>,
    /// Id of the top layer; `None` for an image without any file.
    #[serde(default)]
    pub(crate) layer: Option<Id>,
}

/// An entry of `layers.json`.
#[derive(Debug, Clone, Deserialize)]
struct Layer {
    id: Id,
    #[serde(default)]
    parent: Option<String>,
}

/// Parses `images.json`.
pub(crate) fn parse_images(text: &[u8]) -> Result<Vec<Image>, BuildahStoreError> {
    Ok(serde_json::from_slice(text)?)
}

/// Finds the image with that id.
pub(crate) fn find_image<'a>(images: &'a [Image], id: &Id) -> Result<&'a Image, BuildahStoreError> {
    images
        .iter()
        .find(|image| image.id == *id)
        .ok_or_else(|| BuildahStoreError::UnknownImage(id.to_string()))
}

/// Layers by id, each with its parent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Layers(BTreeMap<Id, Option<Id>>);

impl Layers {
    /// Parses `layers.json`.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, BuildahStoreError> {
        let layers: Vec<Layer> = serde_json::from_slice(text)?;
        layers
            .into_iter()
            .map(|Layer { id, parent }| {
                let parent = parent.filter(|parent| !parent.is_empty());
                Ok((id, parent.map(Id::try_from).transpose()?))
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The layers from `top` down that are in this store, and the id of the layer below the last of them.
    pub(crate) fn chain(
        &self,
        top: Option<&Id>,
    ) -> Result<(Vec<Id>, Option<Id>), BuildahStoreError> {
        let mut chain = Vec::new();
        let mut next = top;
        while let Some(id) = next {
            let Some(parent) = self.0.get(id) else { break };
            if chain.len() == MAX_LAYERS {
                return Err(BuildahStoreError::TooManyLayers);
            }
            chain.push(id.clone());
            next = parent.as_ref();
        }
        Ok((chain, next.cloned()))
    }

    /// Same as [`Self::chain`], for a store that must contain all layers.
    pub(crate) fn whole_chain(&self, top: Option<&Id>) -> Result<Vec<Id>, BuildahStoreError> {
        match self.chain(top)? {
            (chain, None) => Ok(chain),
            (_, Some(missing)) => Err(BuildahStoreError::UnknownLayer(missing.to_string())),
        }
    }
}

/// Directory of a layer's files, relative to the store.
pub(crate) fn diff_directory(layer: &Id) -> String {
    format!("overlay/{layer}/diff")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(digit: char) -> Id {
        digit.to_string().repeat(64).try_into().unwrap()
    }

    /// As Debian 12's buildah (containers/storage 1.43) writes it.
    const LAYERS: &str = include_str!("store/layers.json");
    const IMAGES: &str = include_str!("store/images.json");

    #[test]
    fn a_real_store_is_read() {
        let images = parse_images(IMAGES.as_bytes()).unwrap();
        let layers = Layers::parse(LAYERS.as_bytes()).unwrap();
        let python = images
            .iter()
            .find(|image| image.names == ["localhost/hearth/python:3.11"])
            .unwrap();
        let chain = layers.whole_chain(python.layer.as_ref()).unwrap();
        let shown: Vec<&str> = chain.iter().map(|id| &id.as_str()[..8]).collect();
        assert_eq!(shown, ["93599b7e", "6be14255"]);
        assert!(find_image(&images, &python.id).is_ok());
        assert!(matches!(
            find_image(&images, &id('0')),
            Err(BuildahStoreError::UnknownImage(_))
        ));
    }

    #[test]
    fn a_chain_leaves_its_store() {
        let (a, b, base) = (id('a'), id('b'), id('c'));
        let text = format!(r#"[{{"id":"{a}","parent":"{b}"}},{{"id":"{b}","parent":"{base}"}}]"#);
        let layers = Layers::parse(text.as_bytes()).unwrap();
        let chain = layers.chain(Some(&a)).unwrap();
        assert_eq!(chain, (vec![a, b], Some(base.clone())));
        assert_eq!(layers.chain(Some(&base)).unwrap(), (vec![], Some(base)));
        assert_eq!(layers.chain(None).unwrap(), (vec![], None));
    }

    #[test]
    fn a_circle_has_an_end() {
        let (a, b) = (id('a'), id('b'));
        let text = format!(r#"[{{"id":"{a}","parent":"{b}"}},{{"id":"{b}","parent":"{a}"}}]"#);
        let layers = Layers::parse(text.as_bytes()).unwrap();
        assert!(matches!(
            layers.chain(Some(&a)),
            Err(BuildahStoreError::TooManyLayers)
        ));
    }

    #[test]
    fn ids_are_no_paths() {
        for bad in ["", "..", "../../etc", &"A".repeat(64), &"a".repeat(63)] {
            assert!(Id::try_from(bad.to_owned()).is_err(), "{bad}");
            let text = format!(r#"[{{"id":"{bad}"}}]"#);
            assert!(Layers::parse(text.as_bytes()).is_err(), "{bad}");
        }
    }
}
