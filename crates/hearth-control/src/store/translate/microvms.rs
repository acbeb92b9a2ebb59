//! Changes of microVMs.

use super::forget_name;
use crate::id::MicrovmId;
use crate::life::{Life, Origin};
use crate::microvm::{Activity, LaunchTerms, Microvm};
use crate::store::Result;
use crate::store::form::Stored as _;
use crate::store::primitive::{IfNone, Rows, Write};
use crate::store::text::{Word as _, phase_columns, scope_text};
use crate::time::Timestamp;

pub(super) fn add(microvm: &Microvm) -> Result<Write> {
    let (phase, phase_since) = phase_columns(microvm.life.phase);
    let parent = match microvm.origin {
        Origin::Version => None,
        Origin::Fork { parent } => Some(parent.to_string()),
    };
    Ok(Write::Insert {
        table: "microvm",
        columns: vec![
            ("id", microvm.id.to_string().into()),
            ("scope", scope_text(&microvm.scope).into()),
            ("image", microvm.image.to_string().into()),
            ("number", microvm.version.major().into()),
            ("endpoint_id", microvm.endpoint_id.to_string().into()),
            ("terms", microvm.terms.to_text()?.into()),
            ("started", microvm.started_at.unix_ms().into()),
            ("phase", phase.into()),
            ("phase_since", phase_since.into()),
            ("parent", parent.into()),
            ("active_by_execs", microvm.activity.execs.into()),
            ("active_by_guest_cpu", microvm.activity.guest_cpu.into()),
            ("generation", microvm.generation.cast_signed().into()),
        ],
    })
}

/// Moves a microVM to its next state, if it is still at the generation that the move was decided on.
pub(super) fn move_on(
    id: MicrovmId,
    from_generation: u64,
    life: &Life,
    terminated_at: Option<Timestamp>,
) -> Write {
    let (phase, phase_since) = phase_columns(life.phase);
    let next_generation = from_generation.wrapping_add(1);
    Write::Update {
        rows: of(id).is("generation", from_generation.cast_signed()),
        columns: vec![
            ("phase", phase.into()),
            ("phase_since", phase_since.into()),
            ("wish", life.wish.map(|wish| wish.word()).into()),
            ("reason", life.reason.as_deref().into()),
            ("terminated", terminated_at.map(Timestamp::unix_ms).into()),
            ("generation", next_generation.cast_signed().into()),
        ],
        if_none: IfNone::Fails,
    }
}

pub(super) fn set_activity(id: MicrovmId, activity: Activity) -> Write {
    Write::Update {
        rows: of(id),
        columns: vec![
            ("active_by_execs", activity.execs.into()),
            ("active_by_guest_cpu", activity.guest_cpu.into()),
        ],
        if_none: IfNone::Fails,
    }
}

pub(super) fn set_terms(id: MicrovmId, terms: &LaunchTerms) -> Result<Write> {
    Ok(Write::Update {
        rows: of(id),
        columns: vec![("terms", terms.to_text()?.into())],
        if_none: IfNone::Fails,
    })
}

/// Removes a microVM. Succeeds if it does not exist: it is called by age, not by a caller who means this one.
pub(super) fn remove(id: MicrovmId) -> Vec<Write> {
    let mut writes = Vec::from(forget_name(&id.to_string()));
    writes.push(Write::forget(of(id)));
    writes
}

fn of(id: MicrovmId) -> Rows {
    Rows::of("microvm").is("id", id.to_string())
}
