//! Types for values of members, and how inputs are read and outputs written.

use std::fmt;
use std::io::{self, Read};

use hearth_control::time::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use super::Input;
use crate::fault::Fault;
use crate::wire::xml::{Element, Xml};

/// An output as JSON. `None` for operations that answer with an empty body.
pub(crate) type Written = Option<Value>;

/// A text that the model calls sensitive. `Debug` does not show it.
#[derive(Clone, Deserialize, Serialize)]
#[serde(transparent)]
pub(crate) struct Sensitive(pub(crate) String);

impl fmt::Debug for Sensitive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sensitive({} bytes)", self.0.len())
    }
}

impl Element for Sensitive {
    fn write(&self, xml: Xml, name: &str) -> Xml {
        xml.text(name, &self.0)
    }
}

/// Bytes, which are base64 in JSON. They stay encoded until they are read: they may be large.
#[derive(Deserialize)]
#[serde(transparent)]
pub(crate) struct Blob(String);

impl Blob {
    /// A reader of the bytes. The constraints have checked that they can be decoded.
    pub(crate) fn bytes(&self) -> impl Read {
        BlobBytes {
            rest: self.0.as_bytes(),
            decoded: Vec::new(),
            place: 0,
        }
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blob({} characters)", self.0.len())
    }
}

/// Characters that are decoded at a time: a multiple of four.
const BLOB_CHARACTERS: usize = 64 << 10;

struct BlobBytes<'a> {
    rest: &'a [u8],
    decoded: Vec<u8>,
    place: usize,
}

impl Read for BlobBytes<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.place == self.decoded.len() {
            let (part, rest) = self.rest.split_at(self.rest.len().min(BLOB_CHARACTERS));
            let decoded = base64_simd::STANDARD.decode_to_vec(part);
            self.decoded = decoded.map_err(io::Error::other)?;
            (self.rest, self.place) = (rest, 0);
        }
        let length = self.decoded[self.place..].as_ref().read(buffer)?;
        self.place += length;
        Ok(length)
    }
}

/// A time as seconds since 1970, with fractions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EpochSeconds(Timestamp);

impl From<Timestamp> for EpochSeconds {
    fn from(time: Timestamp) -> Self {
        Self(time)
    }
}

impl Serialize for EpochSeconds {
    #[expect(
        clippy::cast_precision_loss,
        reason = "milliseconds of our era need 41 of 52 bits"
    )]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0.unix_ms() as f64 / 1000.0)
    }
}

/// A time as ISO 8601 with milliseconds, in JSON.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IsoMillis(Timestamp);

impl From<Timestamp> for IsoMillis {
    fn from(time: Timestamp) -> Self {
        Self(time)
    }
}

impl Serialize for IsoMillis {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Every time that the control plane stores is in the range of `jiff`. One that were not would be left out.
        let time = jiff::Timestamp::from_millisecond(self.0.unix_ms()).ok();
        let text = time.map(|time| time.strftime("%Y-%m-%dT%H:%M:%S%.3f+0000").to_string());
        text.serialize(serializer)
    }
}

/// A time as ISO 8601 with seconds, in XML.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IsoSeconds(Timestamp);

impl From<Timestamp> for IsoSeconds {
    fn from(time: Timestamp) -> Self {
        Self(time)
    }
}

impl Element for IsoSeconds {
    fn write(&self, xml: Xml, name: &str) -> Xml {
        let time = jiff::Timestamp::from_millisecond(self.0.unix_ms()).ok();
        let text = time.map(|time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
        xml.text(name, &text.unwrap_or_default())
    }
}

/// An enumeration of the model.
pub(crate) trait ModelWord: Copy {
    /// The word on the wire.
    fn text(self) -> &'static str;
}

/// Defines enumerations of the model with their words.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($value:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[allow(dead_code, reason = "Hearth does not take every value that the model has")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
        pub(crate) enum $name {
            $(#[serde(rename = $word)] $value),+
        }

        impl crate::model::values::ModelWord for $name {
            fn text(self) -> &'static str {
                match self { $(Self::$value => $word),+ }
            }
        }
    };
}
pub(crate) use words;

/// Reads the input as the operation's own type. All constraints are checked before, so a failure means that a
/// constraint is missing. The client is told that its request cannot be parsed.
pub(super) fn read<T: DeserializeOwned>(input: Input) -> Result<T, Fault> {
    let mut input = Value::Object(input);
    remove_nulls(&mut input);
    serde_json::from_value(input).map_err(|error| {
        // The error may contain parts of the request, which may contain line feeds.
        let error = error.to_string();
        tracing::warn!(?error, "an accepted input could not be read");
        Fault::unparseable()
    })
}

/// Removes null members, which count as absent.
fn remove_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(remove_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(remove_nulls),
        _ => {}
    }
}

/// The output as JSON. Keys are sorted, as maps of `serde_json` are.
pub(super) fn written<T: Serialize>(output: T) -> Result<Written, Fault> {
    serde_json::to_value(output)
        .map(Some)
        .map_err(|error| Fault::internal(&error))
}

/// The output as JSON without null members, for services that leave out absent members.
pub(super) fn written_present<T: Serialize>(output: T) -> Result<Written, Fault> {
    let mut written = written(output)?;
    written.iter_mut().for_each(remove_nulls);
    Ok(written)
}

/// The output of an operation that has none.
pub(super) fn nothing((): ()) -> Result<Written, Fault> {
    Ok(None)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase")]
    enum Union {
        Port(u16),
    }

    #[derive(Debug, Deserialize)]
    struct Structure {
        union: Option<Union>,
        secret: Option<Sensitive>,
    }

    fn structure(input: &Value) -> Result<Structure, Fault> {
        read(input.as_object().cloned().unwrap_or_default())
    }

    #[test]
    fn null_members_are_absent_in_unions_too() {
        let input = json!({"union": {"port": 5, "range": null}, "secret": null});
        let read = structure(&input).unwrap();
        assert!(matches!(read.union, Some(Union::Port(5))));
        assert!(read.secret.is_none());
    }

    #[test]
    fn what_no_constraint_refused_is_unparseable() {
        let refusal = structure(&json!({"union": {"port": "5"}})).unwrap_err();
        assert_eq!(refusal, Fault::unparseable());
    }

    #[test]
    fn blobs_are_decoded_in_parts() {
        let bytes: Vec<u8> = (0..200_001_u32)
            .map(|number| number.to_le_bytes()[0])
            .collect();
        let encoded = base64_simd::STANDARD.encode_to_string(&bytes);
        let blob: Blob = serde_json::from_value(json!(encoded)).unwrap();
        let mut decoded = Vec::new();
        blob.bytes().read_to_end(&mut decoded).unwrap();
        assert!(decoded == bytes);
        let empty: Blob = serde_json::from_value(json!("")).unwrap();
        assert_eq!(empty.bytes().read(&mut [0; 4]).unwrap(), 0);
    }

    #[test]
    fn sensitive_texts_are_not_printed() {
        let read = structure(&json!({"secret": "hush"})).unwrap();
        assert!(!format!("{read:?}").contains("hush"));
    }
}
