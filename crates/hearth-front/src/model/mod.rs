//! What the AWS service models say about requests, as static tables.
//!
//! botocore checks only required members, types and minima before it sends; maxima, patterns and
//! enumerations are the server's work, and their refusals have fixed texts. [`check`] walks a
//! request along these tables and words each violation as AWS does.
//!
//! Each service has a folder that is generated: its constraints, an input and an output for each operation, and a trait with a
//! method for each. Whoever implements the trait answers the service; what is missing does not compile.

mod check;
mod display;
pub(crate) mod iam;
pub(crate) mod lambda_core;
pub(crate) mod lambda_microvms;
pub(crate) mod logs;
pub(crate) mod sts;
#[cfg(test)]
mod tests;
pub(crate) mod values;

use serde_json::{Map as JsonMap, Value};

pub(crate) use check::{Mismatch, check};

/// What a model says of an operation: how it is addressed and what it accepts.
pub(crate) struct OperationModel {
    pub(crate) name: &'static str,
    pub(crate) method: &'static str,
    /// Path template; a `{label}` stands for exactly one segment.
    pub(crate) path: &'static str,
    /// Status of a success.
    pub(crate) status: u16,
    pub(crate) input: &'static [Member],
}

/// A member of an input or of a structure in it.
pub(crate) struct Member {
    pub(crate) name: &'static str,
    /// Its name where it travels, which differs from `name` in some query strings.
    pub(crate) wire: &'static str,
    pub(crate) place: Place,
    pub(crate) required: bool,
    pub(crate) shape: &'static Shape,
}

/// Where a member travels.
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
    Boolean,
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
    /// The enumeration, when not empty.
    pub(crate) values: &'static [&'static str],
    /// Values of such members are never repeated in messages.
    pub(crate) sensitive: bool,
}

pub(crate) struct Range {
    pub(crate) min: Option<i64>,
    pub(crate) max: Option<i64>,
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

/// A request as one JSON object, whatever place its members came from.
pub(crate) type Input = JsonMap<String, Value>;

/// Every operation of every service.
fn operations() -> impl Iterator<Item = &'static OperationModel> {
    lambda_microvms::models()
        .chain(lambda_core::models())
        .chain(logs::models())
        .chain(iam::models())
        .chain(sts::models())
}
