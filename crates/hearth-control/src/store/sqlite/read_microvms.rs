//! Queries on microVMs and the journal.

use std::sync::Arc;

use rusqlite::{Connection, Row, params};

use super::read_images::{find, list};
use super::rows::RowReader;
use crate::arn::Scope;
use crate::id::{AccountId, EndpointId, MicrovmId};
use crate::life::Origin;
use crate::microvm::{Activity, LaunchTerms, Microvm, MicrovmFilter};
use crate::store::form::Stored as _;
use crate::store::text::scope_text;
use crate::store::{Intent, IntentSubject, MicrovmPlace, Result, StoreError};
use crate::time::Timestamp;

fn microvm_of(row: &Row<'_>) -> Result<Microvm> {
    let columns = RowReader::of(row, "microVM");
    let terms = LaunchTerms::from_text(&columns.plain::<String>("terms")?)?;
    Ok(Microvm {
        id: columns.parsed("id")?,
        scope: columns.scope("scope")?,
        image: columns.parsed("image")?,
        version: columns.version("number")?,
        endpoint_id: columns.parsed("endpoint_id")?,
        origin: origin_of(&columns)?,
        terms: Arc::new(terms),
        started_at: columns.time("started")?,
        life: columns.life()?,
        generation: columns.plain::<i64>("generation")?.cast_unsigned(),
        activity: Activity {
            execs: columns.plain("active_by_execs")?,
            guest_cpu: columns.plain("active_by_guest_cpu")?,
        },
        terminated_at: columns.optional_time("terminated")?,
    })
}

fn origin_of(columns: &RowReader<'_, '_>) -> Result<Origin> {
    let parent = columns.optional_parsed("parent")?;
    Ok(parent.map_or(Origin::Version, |parent| Origin::Fork { parent }))
}

pub(super) fn microvm(db: &Connection, id: MicrovmId) -> Result<Option<Microvm>> {
    find(
        db,
        "SELECT * FROM microvm WHERE id = ?",
        [id.to_string()],
        microvm_of,
    )
}

pub(super) fn microvm_at(db: &Connection, endpoint: EndpointId) -> Result<Option<Microvm>> {
    let query = "SELECT * FROM microvm WHERE endpoint_id = ?";
    find(db, query, [endpoint.to_string()], microvm_of)
}

pub(super) fn microvms(
    db: &Connection,
    scope: &Scope,
    filter: &MicrovmFilter,
    after: Option<MicrovmPlace>,
    limit: u32,
) -> Result<Vec<Microvm>> {
    let (started, id) = match after {
        Some((started, id)) => (started.unix_ms(), id.to_string()),
        None => (i64::MAX, String::new()),
    };
    let version = filter.version.map(|number| number.major());
    // Two texts, so that each can use an index.
    let by_image = "SELECT * FROM microvm WHERE image = ?5 AND scope = ?1 AND started <= ?2 \
                    AND (started < ?2 OR id > ?3) AND (?6 IS NULL OR number = ?6) \
                    ORDER BY started DESC, id LIMIT ?4";
    let by_scope = "SELECT * FROM microvm WHERE scope = ?1 AND started <= ?2 AND (started < ?2 OR id > ?3) \
                    AND (?5 IS NULL OR image = ?5) AND (?6 IS NULL OR number = ?6) \
                    ORDER BY started DESC, id LIMIT ?4";
    let image = filter.image.as_ref().map(ToString::to_string);
    let query = if image.is_some() { by_image } else { by_scope };
    list(
        db,
        query,
        params![scope_text(scope), started, id, limit, image, version],
        microvm_of,
    )
}

pub(super) fn living(db: &Connection) -> Result<Vec<Microvm>> {
    list(
        db,
        "SELECT * FROM microvm WHERE terminated IS NULL",
        [],
        microvm_of,
    )
}

pub(super) fn terminated(db: &Connection, until: Timestamp, limit: u32) -> Result<Vec<MicrovmId>> {
    let query = "SELECT id FROM microvm WHERE terminated <= ? ORDER BY terminated LIMIT ?";
    let id = |row: &Row<'_>| RowReader::of(row, "microVM").parsed("id");
    list(db, query, params![until.unix_ms(), limit], id)
}

/// The query behind [`terminated_beyond`]. A test checks that it uses an index.
pub(super) const TERMINATED_BEYOND: &str = "SELECT id FROM microvm WHERE substr(scope, 1, 12) = ?1 AND terminated IS NOT NULL \
     ORDER BY terminated DESC, id LIMIT ?2 OFFSET ?3";

pub(super) fn terminated_beyond(
    db: &Connection,
    account: AccountId,
    newest: u32,
    limit: u32,
) -> Result<Vec<MicrovmId>> {
    let id = |row: &Row<'_>| RowReader::of(row, "microVM").parsed("id");
    let parameters = params![account.to_string(), limit, newest];
    list(db, TERMINATED_BEYOND, parameters, id)
}

pub(super) fn open_intents(db: &Connection) -> Result<Vec<Intent>> {
    let query = "SELECT * FROM journal WHERE outcome IS NULL ORDER BY sequence";
    list(db, query, [], |row| {
        let columns = RowReader::of(row, "journal");
        let subject = columns.plain::<String>("subject")?;
        let subject = match subject.parse() {
            Ok(id) => IntentSubject::Microvm(id),
            Err(_) => {
                let arn = subject
                    .parse()
                    .map_err(|_| StoreError::Record { kind: "journal" })?;
                IntentSubject::Image(arn)
            }
        };
        Ok(Intent {
            subject,
            what: columns.plain("intent")?,
            at: columns.time("begun")?,
        })
    })
}
