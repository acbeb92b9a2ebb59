//! Changes of tags, client tokens and the journal.

use crate::arn::TaggedArn;
use crate::image::Tags;
use crate::store::primitive::{IfNone, Rows, Test, Write};
use crate::store::text::scope_text;
use crate::store::{Intent, IntentSubject, TokenKey, TokenUse};
use crate::time::Timestamp;

pub(super) fn put_tags(resource: &TaggedArn, tags: &Tags) -> Vec<Write> {
    let put = |(key, value): (&String, &String)| Write::Put {
        table: "tag",
        key: &["resource", "key"],
        columns: vec![
            ("resource", resource.to_string().into()),
            ("key", key.as_str().into()),
            ("value", value.as_str().into()),
        ],
        updated: &["value"],
    };
    tags.iter().map(put).collect()
}

/// Removes tags. No-op for tags that do not exist, as on AWS.
pub(super) fn remove_tags(resource: &TaggedArn, keys: &[String]) -> Vec<Write> {
    let tag = |key: &String| {
        Rows::of("tag")
            .is("resource", resource.to_string())
            .is("key", key.as_str())
    };
    keys.iter().map(tag).map(Write::forget).collect()
}

pub(super) fn use_token(key: &TokenKey, token_use: &TokenUse) -> Write {
    Write::Insert {
        table: "client_token",
        columns: vec![
            ("scope", scope_text(&key.scope).into()),
            ("operation", key.operation.into()),
            ("token", key.token.0.as_str().into()),
            ("digest", token_use.digest.into()),
            ("resource", token_use.resource.as_str().into()),
            ("created", token_use.at.unix_ms().into()),
        ],
    }
}

/// Removes old client tokens, if there are any.
pub(super) fn forget_tokens(before: Timestamp) -> Write {
    let old = Test::Less(before.unix_ms());
    Write::forget(Rows::of("client_token").test("created", old))
}

pub(super) fn intend(intent: &Intent) -> Vec<Write> {
    let open = Write::Insert {
        table: "journal",
        columns: vec![
            ("subject", intent.subject.to_string().into()),
            ("intent", intent.what.as_str().into()),
            ("begun", intent.at.unix_ms().into()),
        ],
    };
    vec![conclude(&intent.subject, "replaced", intent.at), open]
}

/// Writes an outcome if an intent of the subject is open: not every transition had one.
pub(super) fn conclude(subject: &IntentSubject, outcome: &str, at: Timestamp) -> Write {
    Write::Update {
        rows: Rows::of("journal")
            .is("subject", subject.to_string())
            .test("outcome", Test::Missing),
        columns: vec![("outcome", outcome.into()), ("ended", at.unix_ms().into())],
        if_none: IfNone::Fine,
    }
}

/// Removes old concluded intents, if there are any.
pub(super) fn forget_intents(before: Timestamp) -> Write {
    let concluded = Rows::of("journal").test("outcome", Test::Set);
    Write::forget(concluded.test("ended", Test::Less(before.unix_ms())))
}
