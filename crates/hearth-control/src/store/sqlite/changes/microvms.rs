//! Changes of microVMs.

use rusqlite::{Connection, params};

use super::super::rows::{phase_columns, scope_text};
use super::{forget_name, hit, run};
use crate::id::MicrovmId;
use crate::life::Life;
use crate::life::Origin;
use crate::microvm::{Activity, Microvm};
use crate::store::form::Stored as _;
use crate::store::text::Word as _;
use crate::store::{Change, Result, StoreError};
use crate::time::Timestamp;

pub(super) fn add(db: &Connection, microvm: &Microvm) -> Result<()> {
    let (phase, phase_since) = phase_columns(microvm.life.phase);
    let parent = match microvm.origin {
        Origin::Version => None,
        Origin::Fork { parent } => Some(parent.to_string()),
    };
    run(
        db,
        "INSERT INTO microvm (id, scope, image, number, endpoint_id, terms, started, phase, phase_since, parent, \
         active_by_execs, active_by_guest_cpu, generation) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            microvm.id.to_string(),
            scope_text(&microvm.scope),
            microvm.image.to_string(),
            microvm.version.major(),
            microvm.endpoint_id.to_string(),
            microvm.terms.to_text()?,
            microvm.started_at.unix_ms(),
            phase,
            phase_since,
            parent,
            microvm.activity.execs,
            microvm.activity.guest_cpu,
            microvm.generation.cast_signed(),
        ],
    )?;
    Ok(())
}

/// Moves a microVM on, if it is still at the generation that the move was decided on.
pub(super) fn move_on(
    db: &Connection,
    id: MicrovmId,
    from_generation: u64,
    life: &Life,
    terminated_at: Option<Timestamp>,
) -> Result<()> {
    let (phase, phase_since) = phase_columns(life.phase);
    let moved = run(
        db,
        "UPDATE microvm SET phase = ?, phase_since = ?, wish = ?, reason = ?, terminated = ?, generation = generation + 1 \
         WHERE id = ? AND generation = ?",
        params![
            phase,
            phase_since,
            life.wish.map(|wish| wish.word()),
            life.reason,
            terminated_at.map(Timestamp::unix_ms),
            id.to_string(),
            from_generation.cast_signed(),
        ],
    )?;
    if moved == 0 {
        return Err(StoreError::MovedElsewhere {
            id,
            from_generation,
        });
    }
    Ok(())
}

pub(super) fn set_activity(
    db: &Connection,
    change: &Change,
    id: MicrovmId,
    activity: Activity,
) -> Result<()> {
    hit(
        db,
        change,
        "UPDATE microvm SET active_by_execs = ?, active_by_guest_cpu = ? WHERE id = ?",
        params![activity.execs, activity.guest_cpu, id.to_string()],
    )
}

/// Forgets a microVM. Succeeds if it does not exist: it is called by age, not by a caller who means this one.
pub(super) fn remove(db: &Connection, id: MicrovmId) -> Result<()> {
    let id = id.to_string();
    forget_name(db, &id)?;
    run(db, "DELETE FROM microvm WHERE id = ?", [id])?;
    Ok(())
}
