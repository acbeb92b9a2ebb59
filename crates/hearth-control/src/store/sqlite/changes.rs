//! Changes as statements.

use rusqlite::{Connection, Params, params};

use super::rows::{phase_columns, scope_text};
use crate::arn::TaggedArn;
use crate::connector::{Connector, ConnectorVersion};
use crate::image::{Build, Image, ImageVersion};
use crate::machine::microvm::Life;
use crate::microvm::{Microvm, Origin};
use crate::store::form::Stored as _;
use crate::store::form::microvm::LaunchTerms;
use crate::store::text::Word as _;
use crate::store::{Change, Result};

/// Makes one change.
pub(super) fn apply(db: &Connection, change: &Change) -> Result<()> {
    match change {
        Change::PutImage(image) => put_image(db, image),
        Change::RemoveImage(arn) => {
            remove_resource(db, "DELETE FROM image WHERE arn = ?", &arn.to_string())
        }
        Change::PutVersion(version) => put_version(db, version),
        Change::RemoveVersion(arn, number) => run(
            db,
            "DELETE FROM version WHERE image = ? AND number = ?",
            params![arn.to_string(), number.major()],
        ),
        Change::PutBuild(build) => put_build(db, build),
        Change::AddMicrovm(microvm) => add_microvm(db, microvm),
        Change::MoveMicrovm {
            id,
            life,
            terminated_at,
        } => {
            let terminated = terminated_at.map(|at| at.unix_ms());
            move_microvm(db, &id.to_string(), life, terminated)
        }
        Change::SetActivity(id, activity) => run(
            db,
            "UPDATE microvm SET active_by_execs = ?, active_by_guest_cpu = ? WHERE id = ?",
            params![activity.execs, activity.guest_cpu, id.to_string()],
        ),
        Change::RemoveMicrovm(id) => {
            remove_resource(db, "DELETE FROM microvm WHERE id = ?", &id.to_string())
        }
        Change::PutConnector(connector) => put_connector(db, connector),
        Change::PutConnectorVersion(version) => put_connector_version(db, version),
        Change::RemoveConnectorVersion(id, number) => run(
            db,
            "DELETE FROM connector_version WHERE connector = ? AND number = ?",
            params![id.to_string(), number],
        ),
        Change::RemoveConnector(connector) => remove_connector(db, connector),
        Change::PutTags(..) | Change::RemoveTags(..) => tags(db, change),
        Change::UseToken(..)
        | Change::ForgetTokens(_)
        | Change::Intend(_)
        | Change::Conclude(..)
        | Change::ForgetIntents(_) => journal(db, change),
        _ => accounts(db, change),
    }
}

fn run(db: &Connection, statement: &str, arguments: impl Params) -> Result<()> {
    db.prepare_cached(statement)?.execute(arguments)?;
    Ok(())
}

/// Removes a resource and what hangs on its name. A client token whose resource is gone must go too, or a
/// repeated create would answer with something that no longer exists.
fn remove_resource(db: &Connection, statement: &str, name: &str) -> Result<()> {
    run(db, "DELETE FROM tag WHERE resource = ?", [name])?;
    run(db, "DELETE FROM client_token WHERE resource = ?", [name])?;
    run(db, statement, [name])
}

fn put_image(db: &Connection, image: &Image) -> Result<()> {
    run(
        db,
        "INSERT INTO image (arn, scope, name, id, state, latest_active, latest_failed, last_version, created, updated) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (arn) DO UPDATE SET state = excluded.state, \
         latest_active = excluded.latest_active, latest_failed = excluded.latest_failed, \
         last_version = excluded.last_version, updated = excluded.updated",
        params![
            image.arn.to_string(),
            scope_text(&image.arn.scope),
            image.arn.name.as_str(),
            image.id.to_string(),
            image.state.word(),
            image.latest_active_version.map(|number| number.major()),
            image.latest_failed_version.map(|number| number.major()),
            image.last_version.major(),
            image.created_at.unix_ms(),
            image.updated_at.unix_ms(),
        ],
    )
}

fn put_version(db: &Connection, version: &ImageVersion) -> Result<()> {
    run(
        db,
        "INSERT INTO version (image, number, state, status, spec, snapshot, created, updated) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (image, number) DO UPDATE SET state = excluded.state, \
         status = excluded.status, spec = excluded.spec, snapshot = excluded.snapshot, updated = excluded.updated",
        params![
            version.image.to_string(),
            version.number.major(),
            version.state.word(),
            version.status.word(),
            version.spec.to_text()?,
            version.snapshot.as_ref().map(|snapshot| &snapshot.0),
            version.created_at.unix_ms(),
            version.updated_at.unix_ms(),
        ],
    )
}

fn put_build(db: &Connection, build: &Build) -> Result<()> {
    run(
        db,
        "INSERT INTO build (id, image, number, scope, state, architecture, chipset_generation, reason, \
         memory_bytes, code_install_bytes, disk_bytes, attempts, created) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET state = excluded.state, \
         reason = excluded.reason, memory_bytes = excluded.memory_bytes, disk_bytes = excluded.disk_bytes, \
         code_install_bytes = excluded.code_install_bytes, attempts = excluded.attempts",
        params![
            build.id.to_string(),
            build.image.to_string(),
            build.version.major(),
            scope_text(&build.image.scope),
            build.state.word(),
            build.architecture.word(),
            build.chipset_generation,
            build.reason,
            build.sizes.memory_bytes.map(u64::cast_signed),
            build.sizes.code_install_bytes.map(u64::cast_signed),
            build.sizes.disk_bytes.map(u64::cast_signed),
            build.attempts,
            build.created_at.unix_ms(),
        ],
    )
}

fn add_microvm(db: &Connection, microvm: &Microvm) -> Result<()> {
    let (phase, phase_since) = phase_columns(microvm.life.phase);
    let parent = match microvm.origin {
        Origin::Version => None,
        Origin::Fork { parent } => Some(parent.to_string()),
    };
    run(
        db,
        "INSERT INTO microvm (id, scope, image, number, endpoint_id, terms, started, phase, phase_since, parent, \
         active_by_execs, active_by_guest_cpu) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            microvm.id.to_string(),
            scope_text(&microvm.scope),
            microvm.image.to_string(),
            microvm.version.major(),
            microvm.endpoint_id.to_string(),
            LaunchTerms::of(microvm).to_text()?,
            microvm.started_at.unix_ms(),
            phase,
            phase_since,
            parent,
            microvm.activity.execs,
            microvm.activity.guest_cpu,
        ],
    )
}

fn move_microvm(db: &Connection, id: &str, life: &Life, terminated: Option<i64>) -> Result<()> {
    let (phase, phase_since) = phase_columns(life.phase);
    run(
        db,
        "UPDATE microvm SET phase = ?, phase_since = ?, wish = ?, reason = ?, terminated = ? WHERE id = ?",
        params![
            phase,
            phase_since,
            life.wish.map(|wish| wish.word()),
            life.reason,
            terminated,
            id
        ],
    )
}

fn put_connector(db: &Connection, connector: &Connector) -> Result<()> {
    run(
        db,
        "INSERT INTO connector (id, scope, name, state, reason, fault, operator_role, latest_version, last_version, \
         update_status, update_reason, update_fault, created, updated) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET state = excluded.state, \
         reason = excluded.reason, fault = excluded.fault, operator_role = excluded.operator_role, \
         latest_version = excluded.latest_version, last_version = excluded.last_version, \
         update_status = excluded.update_status, update_reason = excluded.update_reason, \
         update_fault = excluded.update_fault, updated = excluded.updated",
        params![
            connector.id.to_string(),
            scope_text(&connector.scope),
            connector.name.as_str(),
            connector.state.word(),
            connector.reason,
            connector.fault.map(|fault| fault.word()),
            connector.operator_role,
            connector.latest_version,
            connector.last_version,
            connector.update_status.map(|status| status.word()),
            connector.update_reason,
            connector.update_fault.map(|fault| fault.word()),
            connector.created_at.unix_ms(),
            connector.updated_at.unix_ms(),
        ],
    )
}

fn put_connector_version(db: &Connection, version: &ConnectorVersion) -> Result<()> {
    run(
        db,
        "INSERT INTO connector_version (connector, number, egress, operator_role, state, reason, fault, updated) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (connector, number) DO UPDATE SET state = excluded.state, \
         reason = excluded.reason, fault = excluded.fault, updated = excluded.updated",
        params![
            version.connector.to_string(),
            version.number,
            version.egress.to_text()?,
            version.operator_role,
            version.state.word(),
            version.reason,
            version.fault.map(|fault| fault.word()),
            version.updated_at.unix_ms(),
        ],
    )
}

fn remove_connector(db: &Connection, connector: &Connector) -> Result<()> {
    let arn = TaggedArn::Connector(connector.arn()).to_string();
    run(db, "DELETE FROM tag WHERE resource = ?", [arn])?;
    remove_resource(
        db,
        "DELETE FROM connector WHERE id = ?",
        &connector.id.to_string(),
    )
}

fn tags(db: &Connection, change: &Change) -> Result<()> {
    match change {
        Change::PutTags(resource, tags) => {
            let resource = resource.to_string();
            for (key, value) in tags {
                let statement =
                    "INSERT OR REPLACE INTO tag (resource, key, value) VALUES (?, ?, ?)";
                run(db, statement, params![resource, key, value])?;
            }
        }
        Change::RemoveTags(resource, keys) => {
            let resource = resource.to_string();
            for key in keys {
                run(
                    db,
                    "DELETE FROM tag WHERE resource = ? AND key = ?",
                    params![resource, key],
                )?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn journal(db: &Connection, change: &Change) -> Result<()> {
    match change {
        Change::UseToken(key, token_use) => run(
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
        ),
        Change::ForgetTokens(before) => run(
            db,
            "DELETE FROM client_token WHERE created < ?",
            [before.unix_ms()],
        ),
        Change::Intend(intent) => {
            let (subject, at) = (intent.subject.to_string(), intent.at.unix_ms());
            conclude(db, &subject, "replaced", at)?;
            run(
                db,
                "INSERT INTO journal (subject, intent, begun) VALUES (?, ?, ?)",
                params![subject, intent.what, at],
            )
        }
        Change::Conclude(subject, outcome, at) => {
            conclude(db, &subject.to_string(), outcome, at.unix_ms())
        }
        Change::ForgetIntents(before) => run(
            db,
            "DELETE FROM journal WHERE outcome IS NOT NULL AND ended < ?",
            [before.unix_ms()],
        ),
        _ => Ok(()),
    }
}

fn conclude(db: &Connection, subject: &str, outcome: &str, at: i64) -> Result<()> {
    run(
        db,
        "UPDATE journal SET outcome = ?, ended = ? WHERE subject = ? AND outcome IS NULL",
        params![outcome, at, subject],
    )
}

fn accounts(db: &Connection, change: &Change) -> Result<()> {
    match change {
        Change::AddAccount(account) => run(
            db,
            "INSERT INTO account (id, created) VALUES (?, ?)",
            params![account.id.to_string(), account.created_at.unix_ms()],
        ),
        Change::AddAccessKey(key) => run(
            db,
            "INSERT INTO access_key (id, secret, account, status, created) VALUES (?, ?, ?, ?, ?)",
            params![
                key.id.as_str(),
                key.secret.reveal(),
                key.account.to_string(),
                key.status.word(),
                key.created_at.unix_ms(),
            ],
        ),
        Change::SetAccessKey(id, status) => run(
            db,
            "UPDATE access_key SET status = ? WHERE id = ?",
            params![status.word(), id.as_str()],
        ),
        Change::RemoveAccessKey(id) => {
            run(db, "DELETE FROM access_key WHERE id = ?", [id.as_str()])
        }
        _ => roles(db, change),
    }
}

fn roles(db: &Connection, change: &Change) -> Result<()> {
    match change {
        Change::PutRole(role) => run(
            db,
            "INSERT INTO role (account, name, path, role_id, description, trust, max_session_s, created) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (account, name) DO UPDATE SET trust = excluded.trust, \
             description = excluded.description, max_session_s = excluded.max_session_s",
            params![
                role.account.to_string(),
                role.name.as_str(),
                role.path,
                role.role_id,
                role.description,
                role.trust_policy,
                role.max_session_s,
                role.created_at.unix_ms(),
            ],
        ),
        Change::RemoveRole(account, name) => run(
            db,
            "DELETE FROM role WHERE account = ? AND name = ?",
            params![account.to_string(), name.as_str()],
        ),
        Change::PutRolePolicy(account, role, policy) => run(
            db,
            "INSERT OR REPLACE INTO role_policy (account, role, name, document) VALUES (?, ?, ?, ?)",
            params![
                account.to_string(),
                role.as_str(),
                policy.name,
                policy.document
            ],
        ),
        Change::RemoveRolePolicy(account, role, name) => run(
            db,
            "DELETE FROM role_policy WHERE account = ? AND role = ? AND name = ?",
            params![account.to_string(), role.as_str(), name],
        ),
        Change::AttachRolePolicy(account, role, policy_arn) => run(
            db,
            "INSERT OR IGNORE INTO role_attachment (account, role, policy_arn) VALUES (?, ?, ?)",
            params![account.to_string(), role.as_str(), policy_arn],
        ),
        Change::DetachRolePolicy(account, role, policy_arn) => run(
            db,
            "DELETE FROM role_attachment WHERE account = ? AND role = ? AND policy_arn = ?",
            params![account.to_string(), role.as_str(), policy_arn],
        ),
        _ => Ok(()),
    }
}
