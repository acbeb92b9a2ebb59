//! What the AWS service models require of requests, as static tables.
//!
//! botocore checks only required members, types and minima before it sends a request. The server checks maxima,
//! patterns and enumerations, and refuses with fixed texts. [`check`] compares a request with these tables and
//! reports each violation in the words of AWS.
//!
//! Each service has a generated folder: its constraints, an input and an output for each operation, and a trait with
//! a method for each operation. A service implements the trait, so a missing operation does not compile.

mod check;
mod display;
pub(crate) mod iam;
pub(crate) mod lambda;
pub(crate) mod lambda_core;
pub(crate) mod lambda_microvms;
pub(crate) mod logs;
pub(crate) mod sts;
#[cfg(test)]
mod tests;
pub(crate) mod values;

use serde_json::{Map as JsonMap, Value};

pub(crate) use check::{Mismatch, check};

/// The model of an operation: its address and its input.
pub(crate) struct OperationModel {
    pub(crate) name: &'static str,
    pub(crate) method: &'static str,
    /// Path template. A `{label}` stands for exactly one segment.
    pub(crate) path: &'static str,
    /// The status of a successful answer.
    pub(crate) status: u16,
    pub(crate) input: &'static [Member],
}

/// A member of an input or of a structure in it.
pub(crate) struct Member {
    pub(crate) name: &'static str,
    /// The name on the wire, which differs from `name` in some query strings.
    pub(crate) wire: &'static str,
    pub(crate) place: Place,
    pub(crate) required: bool,
    pub(crate) shape: &'static Shape,
}

/// Where a member is in the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Body,
    Path,
    Query,
}

/// The type of a member with its constraints.
pub(crate) enum Shape {
    Text(Text),
    Integer(Range),
    Double(DoubleRange),
    Boolean,
    /// Bytes: base64 in JSON. Messages never repeat them.
    Blob,
    List(List),
    Map(Map),
    Structure(Structure),
    /// Exactly one member may be present.
    Union(Structure),
}

pub(crate) struct Text {
    pub(crate) min: Option<usize>,
    pub(crate) max: Option<usize>,
    pub(crate) pattern: Option<&'static str>,
    /// The values of an enumeration. Empty for other texts.
    pub(crate) values: &'static [&'static str],
    /// Whether the value is secret. Messages do not repeat such values.
    pub(crate) sensitive: bool,
}

pub(crate) struct Range {
    pub(crate) min: Option<i64>,
    pub(crate) max: Option<i64>,
}

pub(crate) struct DoubleRange {
    pub(crate) min: Option<f64>,
    pub(crate) max: Option<f64>,
}

pub(crate) struct List {
    pub(crate) min: Option<usize>,
    pub(crate) max: Option<usize>,
    pub(crate) item: &'static Shape,
}

pub(crate) struct Map {
    pub(crate) min: Option<usize>,
    pub(crate) max: Option<usize>,
    pub(crate) key: &'static Shape,
    pub(crate) value: &'static Shape,
}

pub(crate) struct Structure {
    pub(crate) name: &'static str,
    pub(crate) members: &'static [Member],
}

const fn body(name: &'static str, shape: &'static Shape) -> Member {
    Member {
        name,
        wire: name,
        place: Place::Body,
        required: false,
        shape,
    }
}

const fn path(name: &'static str, shape: &'static Shape) -> Member {
    Member {
        name,
        wire: name,
        place: Place::Path,
        required: false,
        shape,
    }
}

const fn query(name: &'static str, wire: &'static str, shape: &'static Shape) -> Member {
    Member {
        name,
        wire,
        place: Place::Query,
        required: false,
        shape,
    }
}

impl Member {
    const fn required(self) -> Self {
        Self {
            required: true,
            ..self
        }
    }
}

/// A request as one JSON object, wherever in the request its members were.
pub(crate) type Input = JsonMap<String, Value>;

/// Every operation of every service.
fn operations() -> impl Iterator<Item = &'static OperationModel> {
    lambda_microvms::models()
        .chain(lambda::models())
        .chain(lambda_core::models())
        .chain(logs::models())
        .chain(iam::models())
        .chain(sts::models())
}
