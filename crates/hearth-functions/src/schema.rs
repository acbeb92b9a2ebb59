//! The tables, as migration steps for [`hearth_sqlite`].
//!
//! `version.number` 0 is `$LATEST`. `version_code` names every zip that a version needs, its own (place 0) and those of
//! its layers: a layer that was deleted goes on in the functions that use it. `counter` has the last number of every
//! function and layer that ever was, because numbers are never given again.

/// The migration steps, in order. A released step is never changed.
pub(crate) const STEPS: &[&str] = &[FIRST];

const FIRST: &str = "
CREATE TABLE function (
    id INTEGER PRIMARY KEY,
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    name TEXT NOT NULL,
    tags TEXT NOT NULL,
    reserved INTEGER,
    recursion_allowed INTEGER NOT NULL DEFAULT 0,
    UNIQUE (account, region, name)
);
CREATE TABLE counter (
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    last INTEGER NOT NULL,
    PRIMARY KEY (account, region, kind, name)
) WITHOUT ROWID;
CREATE TABLE version (
    function_id INTEGER NOT NULL REFERENCES function (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    configuration TEXT NOT NULL,
    description TEXT,
    code_sha256 TEXT NOT NULL,
    code_bytes INTEGER NOT NULL,
    unzipped_bytes INTEGER NOT NULL,
    revision_id TEXT NOT NULL,
    modified_ms INTEGER NOT NULL,
    state TEXT NOT NULL,
    update_status TEXT,
    update_runtime_on TEXT NOT NULL DEFAULT 'Auto',
    runtime_arn TEXT,
    PRIMARY KEY (function_id, number)
);
CREATE INDEX version_unsettled ON version (function_id)
WHERE state = 'Pending' OR update_status = 'InProgress';
CREATE TABLE version_code (
    function_id INTEGER NOT NULL,
    number INTEGER NOT NULL,
    place INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    PRIMARY KEY (function_id, number, place),
    FOREIGN KEY (function_id, number) REFERENCES version (function_id, number) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX version_code_by_sha256 ON version_code (sha256);
CREATE TABLE alias (
    function_id INTEGER NOT NULL REFERENCES function (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    number INTEGER NOT NULL,
    description TEXT NOT NULL,
    other_number INTEGER,
    other_weight REAL,
    revision_id TEXT NOT NULL,
    PRIMARY KEY (function_id, name)
) WITHOUT ROWID;
CREATE TABLE policy (
    function_id INTEGER NOT NULL REFERENCES function (id) ON DELETE CASCADE,
    qualifier TEXT NOT NULL,
    statements TEXT NOT NULL,
    revision_id TEXT NOT NULL,
    PRIMARY KEY (function_id, qualifier)
) WITHOUT ROWID;
CREATE TABLE event_invoke (
    function_id INTEGER NOT NULL REFERENCES function (id) ON DELETE CASCADE,
    qualifier TEXT NOT NULL,
    retries INTEGER,
    age_s INTEGER,
    modified_ms INTEGER NOT NULL,
    PRIMARY KEY (function_id, qualifier)
) WITHOUT ROWID;
CREATE TABLE layer_version (
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    name TEXT NOT NULL,
    number INTEGER NOT NULL,
    description TEXT NOT NULL,
    license TEXT,
    runtimes TEXT,
    architectures TEXT,
    code_sha256 TEXT NOT NULL,
    code_bytes INTEGER NOT NULL,
    unzipped_bytes INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    statements TEXT NOT NULL,
    policy_revision_id TEXT NOT NULL,
    PRIMARY KEY (account, region, name, number)
) WITHOUT ROWID;
CREATE INDEX layer_version_by_sha256 ON layer_version (code_sha256);
";
