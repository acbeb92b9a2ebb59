//! The tables, as migration steps for [`hearth_sqlite`]. A released step is never changed.

/// The migration steps, in order.
pub(super) const STEPS: &[&str] = &[FIRST, FORKS, ACTIVITY, GENERATION, ENDED, POLICIES];

/// Times are milliseconds since 1970. `scope` is `<account>/<region>`. Images are referenced by ARN.
const FIRST: &str = "
CREATE TABLE account (id TEXT PRIMARY KEY, created INTEGER NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE access_key (
    id TEXT PRIMARY KEY,
    secret TEXT NOT NULL,
    account TEXT NOT NULL REFERENCES account (id),
    status TEXT NOT NULL,
    created INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX access_key_account ON access_key (account, id);

CREATE TABLE role (
    account TEXT NOT NULL REFERENCES account (id),
    name TEXT NOT NULL,
    path TEXT NOT NULL,
    role_id TEXT NOT NULL,
    description TEXT,
    trust TEXT NOT NULL,
    max_session_s INTEGER NOT NULL,
    created INTEGER NOT NULL,
    PRIMARY KEY (account, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE role_policy (
    account TEXT NOT NULL,
    role TEXT NOT NULL,
    name TEXT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (account, role, name),
    FOREIGN KEY (account, role) REFERENCES role (account, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE role_attachment (
    account TEXT NOT NULL,
    role TEXT NOT NULL,
    policy_arn TEXT NOT NULL,
    PRIMARY KEY (account, role, policy_arn),
    FOREIGN KEY (account, role) REFERENCES role (account, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE image (
    arn TEXT PRIMARY KEY,
    scope TEXT NOT NULL,
    name TEXT NOT NULL,
    id TEXT NOT NULL,
    state TEXT NOT NULL,
    latest_active INTEGER,
    latest_failed INTEGER,
    last_version INTEGER NOT NULL,
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL,
    UNIQUE (scope, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE version (
    image TEXT NOT NULL REFERENCES image (arn) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    state TEXT NOT NULL,
    status TEXT NOT NULL,
    spec TEXT NOT NULL,
    snapshot TEXT,
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL,
    PRIMARY KEY (image, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX version_snapshot ON version (snapshot) WHERE snapshot IS NOT NULL;

CREATE TABLE build (
    id TEXT PRIMARY KEY,
    image TEXT NOT NULL,
    number INTEGER NOT NULL,
    scope TEXT NOT NULL,
    state TEXT NOT NULL,
    architecture TEXT NOT NULL,
    chipset_generation TEXT NOT NULL,
    reason TEXT,
    memory_bytes INTEGER,
    code_install_bytes INTEGER,
    disk_bytes INTEGER,
    attempts INTEGER NOT NULL,
    created INTEGER NOT NULL,
    FOREIGN KEY (image, number) REFERENCES version (image, number) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX build_version ON build (image, number, id);
CREATE INDEX build_open ON build (scope) WHERE state IN ('PENDING', 'IN_PROGRESS');

CREATE TABLE microvm (
    id TEXT PRIMARY KEY,
    scope TEXT NOT NULL,
    image TEXT NOT NULL,
    number INTEGER NOT NULL,
    endpoint_id TEXT NOT NULL UNIQUE,
    terms TEXT NOT NULL,
    started INTEGER NOT NULL,
    phase TEXT NOT NULL,
    phase_since INTEGER,
    wish TEXT,
    reason TEXT,
    terminated INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX microvm_list ON microvm (scope, started DESC, id);
CREATE INDEX microvm_image ON microvm (image, started DESC, id);
CREATE INDEX microvm_living ON microvm (image, number) WHERE terminated IS NULL;
CREATE INDEX microvm_terminated ON microvm (terminated) WHERE terminated IS NOT NULL;

CREATE TABLE connector (
    id TEXT PRIMARY KEY,
    scope TEXT NOT NULL,
    name TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT,
    fault TEXT,
    operator_role TEXT NOT NULL,
    latest_version INTEGER NOT NULL,
    last_version INTEGER NOT NULL,
    update_status TEXT,
    update_reason TEXT,
    update_fault TEXT,
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL,
    UNIQUE (scope, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX connector_list ON connector (scope, id);

CREATE TABLE connector_version (
    connector TEXT NOT NULL REFERENCES connector (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    egress TEXT NOT NULL,
    operator_role TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT,
    fault TEXT,
    updated INTEGER NOT NULL,
    PRIMARY KEY (connector, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE tag (
    resource TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (resource, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE client_token (
    scope TEXT NOT NULL,
    operation TEXT NOT NULL,
    token TEXT NOT NULL,
    digest BLOB NOT NULL,
    resource TEXT NOT NULL,
    created INTEGER NOT NULL,
    PRIMARY KEY (scope, operation, token)
) STRICT, WITHOUT ROWID;
CREATE INDEX client_token_age ON client_token (created);
CREATE INDEX client_token_resource ON client_token (resource);

CREATE TABLE journal (
    sequence INTEGER PRIMARY KEY,
    subject TEXT NOT NULL,
    intent TEXT NOT NULL,
    begun INTEGER NOT NULL,
    outcome TEXT,
    ended INTEGER
) STRICT;
CREATE UNIQUE INDEX journal_open ON journal (subject) WHERE outcome IS NULL;
CREATE INDEX journal_age ON journal (ended) WHERE outcome IS NOT NULL;
";

/// The parent of a fork. The phases of forks, which older releases cannot read, came with this step.
const FORKS: &str = "ALTER TABLE microvm ADD COLUMN parent TEXT;";

/// What counts as activity of a microVM besides traffic. Nothing does in files from before this step.
const ACTIVITY: &str = "
ALTER TABLE microvm ADD COLUMN active_by_execs INTEGER NOT NULL DEFAULT 0;
ALTER TABLE microvm ADD COLUMN active_by_guest_cpu INTEGER NOT NULL DEFAULT 0;
";

/// The number of transitions of a microVM. In files from before this step, the count begins with the next one.
const GENERATION: &str = "ALTER TABLE microvm ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;";

/// An index of the ended microVMs of an account, by when they ended, to remove those beyond its quota. A scope begins
/// with the twelve digits of its account.
const ENDED: &str = "CREATE INDEX microvm_ended ON microvm (substr(scope, 1, 12), terminated DESC, id) WHERE terminated IS NOT NULL;";

/// Tags of roles, and managed policies of accounts. What was attached before this step need not exist.
const POLICIES: &str = "
ALTER TABLE role ADD COLUMN tags TEXT NOT NULL DEFAULT '{}';

CREATE TABLE policy (
    arn TEXT PRIMARY KEY,
    account TEXT NOT NULL REFERENCES account (id),
    path TEXT NOT NULL,
    name TEXT NOT NULL,
    policy_id TEXT NOT NULL,
    description TEXT,
    default_version INTEGER NOT NULL,
    last_version INTEGER NOT NULL,
    tags TEXT NOT NULL,
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL,
    UNIQUE (account, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE policy_version (
    policy TEXT NOT NULL REFERENCES policy (arn) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    document TEXT NOT NULL,
    created INTEGER NOT NULL,
    PRIMARY KEY (policy, number)
) STRICT, WITHOUT ROWID;

CREATE INDEX role_attachment_policy ON role_attachment (account, policy_arn);
";
