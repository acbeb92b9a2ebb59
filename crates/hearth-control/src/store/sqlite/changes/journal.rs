//! Changes of tags, client tokens and the journal.

use rusqlite::{Connection, params};

use super::super::rows::scope_text;
use super::run;
use crate::arn::TaggedArn;
use crate::image::Tags;
use crate::store::{Intent, Result, Subject, TokenKey, TokenUse};
use crate::time::Timestamp;

pub(super) fn put_tags(db: &Connection, resource: &TaggedArn, tags: &Tags) -> Result<()> {
    let resource = resource.to_string();
    for (key, value) in tags {
        let statement = "INSERT OR REPLACE INTO tag (resource, key, value) VALUES (?, ?, ?)";
        run(db, statement, params![resource, key, value])?;
    }
    Ok(())
}

/// Removes tags. A tag that does not exist is no error, as on AWS.
pub(super) fn remove_tags(db: &Connection, resource: &TaggedArn, keys: &[String]) -> Result<()> {
    let resource = resource.to_string();
    for key in keys {
        let statement = "DELETE FROM tag WHERE resource = ? AND key = ?";
        run(db, statement, params![resource, key])?;
    }
    Ok(())
}

pub(super) fn use_token(db: &Connection, key: &TokenKey, token_use: &TokenUse) -> Result<()> {
    run(
        db,
        "INSERT INTO client_token (scope, operation, token, digest, resource, created) VALUES (?, ?, ?, ?, ?, ?)",
        params![
            scope_text(&key.scope),
            key.operation,
            key.token.0,
            token_use.digest,
            token_use.resource,
            token_use.at.unix_ms(),
        ],
    )?;
    Ok(())
}

/// Forgets old client tokens, if there are any.
pub(super) fn forget_tokens(db: &Connection, before: Timestamp) -> Result<()> {
    let statement = "DELETE FROM client_token WHERE created < ?";
    run(db, statement, [before.unix_ms()])?;
    Ok(())
}

pub(super) fn intend(db: &Connection, intent: &Intent) -> Result<()> {
    conclude(db, &intent.subject, "replaced", intent.at)?;
    run(
        db,
        "INSERT INTO journal (subject, intent, begun) VALUES (?, ?, ?)",
        params![intent.subject.to_string(), intent.what, intent.at.unix_ms()],
    )?;
    Ok(())
}

/// Writes down an outcome, if an intent of the subject is open: not every transition had one.
pub(super) fn conclude(
    db: &Connection,
    subject: &Subject,
    outcome: &str,
    at: Timestamp,
) -> Result<()> {
    run(
        db,
        "UPDATE journal SET outcome = ?, ended = ? WHERE subject = ? AND outcome IS NULL",
        params![outcome, at.unix_ms(), subject.to_string()],
    )?;
    Ok(())
}

/// Forgets old concluded intents, if there are any.
pub(super) fn forget_intents(db: &Connection, before: Timestamp) -> Result<()> {
    let statement = "DELETE FROM journal WHERE outcome IS NOT NULL AND ended < ?";
    run(db, statement, [before.unix_ms()])?;
    Ok(())
}
