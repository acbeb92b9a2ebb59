//! Conditions for reading, copying, replacing or deleting an object (RFC 9110 section 13).

use hearth_objects::{Object, WriteCondition};
use http::{HeaderMap, header};
use s3s::dto::{ETag, ETagCondition, Timestamp};
use s3s::{S3Error, S3Result, s3_error};

use super::description::http_date;
use super::store::timestamp;

/// Conditions on reading an object, as `s3s` has parsed them.
#[derive(Clone, Debug, Default)]
pub(super) struct ReadConditions {
    pub(super) if_match: Option<ETagCondition>,
    pub(super) if_none_match: Option<ETagCondition>,
    pub(super) if_modified_since: Option<Timestamp>,
    pub(super) if_unmodified_since: Option<Timestamp>,
}

/// A condition that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unmet {
    /// The client has the current object already.
    NotModified,
    /// The object is not the one that the client expects.
    Precondition,
}

impl ReadConditions {
    /// Checks the conditions. An entity tag takes precedence over a time (section 13.2.2).
    pub(super) fn judge(&self, object: &Object) -> Result<(), Unmet> {
        let matches = |condition: &ETagCondition| match condition {
            ETagCondition::Any => true,
            ETagCondition::ETag(etag) => etag.value() == object.etag,
        };
        let modified = timestamp(object.modified_ms);
        let is_as_expected = match (&self.if_match, &self.if_unmodified_since) {
            (Some(condition), _) => matches(condition),
            (None, Some(since)) => modified <= *since,
            (None, None) => true,
        };
        if !is_as_expected {
            return Err(Unmet::Precondition);
        }
        let is_known = match (&self.if_none_match, &self.if_modified_since) {
            (Some(condition), _) => matches(condition),
            (None, Some(since)) => modified <= *since,
            (None, None) => false,
        };
        if is_known {
            return Err(Unmet::NotModified);
        }
        Ok(())
    }

    /// Checks the conditions for an answer with the object. A client that has it already gets 304.
    pub(super) fn check(&self, object: &Object) -> S3Result<()> {
        self.judge(object).map_err(|unmet| match unmet {
            Unmet::NotModified => not_modified(object),
            Unmet::Precondition => s3_error!(PreconditionFailed),
        })
    }
}

/// The answer to a client that has the object: with what caches hold against theirs.
fn not_modified(object: &Object) -> S3Error {
    let mut error = s3_error!(NotModified);
    let mut headers = HeaderMap::new();
    let etag = format!("\"{}\"", object.etag);
    let modified = http_date(&timestamp(object.modified_ms));
    for (name, value) in [
        (header::ETAG, Some(etag)),
        (header::LAST_MODIFIED, modified),
    ] {
        if let Some(value) = value.and_then(|value| value.parse().ok()) {
            headers.insert(name, value);
        }
    }
    error.set_headers(headers);
    error
}

/// The condition of a write. S3 accepts only an entity tag or `*` here.
pub(super) fn condition(
    if_match: Option<&ETagCondition>,
    if_none_match: Option<&ETagCondition>,
) -> WriteCondition {
    match (if_match, if_none_match) {
        (Some(ETagCondition::ETag(etag)), _) => {
            WriteCondition::Present(Some(etag.value().to_owned()))
        }
        (Some(ETagCondition::Any), _) => WriteCondition::Present(None),
        (None, Some(ETagCondition::Any)) => WriteCondition::Absent,
        (None, Some(ETagCondition::ETag(etag))) => WriteCondition::Differs(etag.value().to_owned()),
        (None, None) => WriteCondition::Always,
    }
}

/// The condition of a write, from the headers: for inputs that lack it in the model of `s3s` although S3 has it.
pub(super) fn condition_of_headers(headers: &HeaderMap) -> S3Result<WriteCondition> {
    let read = |name: &str| -> S3Result<Option<ETagCondition>> {
        let Some(value) = headers.get(name) else {
            return Ok(None);
        };
        if value.as_bytes() == b"*" {
            return Ok(Some(ETagCondition::Any));
        }
        let etag = ETag::parse_http_header(value.as_bytes())
            .map_err(|_| s3_error!(InvalidArgument, "The header {} is no entity tag.", name))?;
        Ok(Some(ETagCondition::ETag(etag)))
    };
    Ok(condition(
        read("if-match")?.as_ref(),
        read("if-none-match")?.as_ref(),
    ))
}

#[cfg(test)]
mod tests {
    use hearth_objects::Attributes;

    use super::*;

    /// Seconds of the object's time and around it; it was written within the second.
    const WRITTEN_MS: i64 = 1_800_000_000_700;

    fn object() -> Object {
        Object {
            key: "k".to_owned(),
            size: 1,
            etag: "tag".to_owned(),
            modified_ms: WRITTEN_MS,
            attributes: Attributes::default(),
            parts: Vec::new(),
        }
    }

    fn tag(tag: &str) -> Option<ETagCondition> {
        Some(ETagCondition::ETag(ETag::Strong(tag.to_owned())))
    }

    /// Each row of RFC 9110 section 13.2.2 that S3 has.
    #[test]
    fn tags_go_before_times() {
        let (earlier, same, later) = (
            Some(timestamp(WRITTEN_MS - 5000)),
            Some(timestamp(WRITTEN_MS)),
            Some(timestamp(WRITTEN_MS + 5000)),
        );
        let judge = |if_match, if_unmodified_since, if_none_match, if_modified_since| {
            let conditions = ReadConditions {
                if_match,
                if_none_match,
                if_modified_since,
                if_unmodified_since,
            };
            conditions.judge(&object())
        };
        let (kept, failed) = (Err(Unmet::NotModified), Err(Unmet::Precondition));
        assert_eq!(judge(None, None, None, None), Ok(()));
        assert_eq!(judge(tag("tag"), None, None, None), Ok(()));
        assert_eq!(judge(Some(ETagCondition::Any), None, None, None), Ok(()));
        assert_eq!(judge(tag("other"), None, None, None), failed);
        assert_eq!(judge(None, earlier.clone(), None, None), failed);
        assert_eq!(judge(None, same.clone(), None, None), Ok(()));
        assert_eq!(judge(tag("tag"), earlier.clone(), None, None), Ok(()));
        assert_eq!(judge(None, None, tag("tag"), None), kept);
        assert_eq!(judge(None, None, tag("other"), later.clone()), Ok(()));
        assert_eq!(judge(None, None, None, same), kept);
        assert_eq!(judge(None, None, None, later), kept);
        assert_eq!(judge(None, None, None, earlier.clone()), Ok(()));
        assert_eq!(judge(tag("other"), None, tag("tag"), None), failed);
        assert_eq!(judge(None, earlier, tag("tag"), None), failed);
    }
}
