PRAGMA user_version = 6;
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
    created INTEGER NOT NULL, tags TEXT NOT NULL DEFAULT '{}',
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
, parent TEXT, active_by_execs INTEGER NOT NULL DEFAULT 0, active_by_guest_cpu INTEGER NOT NULL DEFAULT 0, generation INTEGER NOT NULL DEFAULT 0) STRICT, WITHOUT ROWID;
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
CREATE INDEX microvm_ended ON microvm (substr(scope, 1, 12), terminated DESC, id) WHERE terminated IS NOT NULL;
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
INSERT INTO account VALUES ('000000000007', 1800000000001);
INSERT INTO access_key VALUES ('AKIAAAAAAAAAAAAAAAAA', 'it''s a secret', '000000000007', 'Active', 1800000000002);
INSERT INTO access_key VALUES ('AKIABBBBBBBBBBBBBBBB', 'it''s a secret', '000000000007', 'Disabled', 1800000000002);
INSERT INTO role VALUES ('000000000007', 'app', '/service/', 'AROAAAAAAAAAAAAAAAAAA', 'it''s ours', '{"Version":"2012-10-17","Statement":[]}', 3600, 1800000000003, '{"team":"it''s us"}');
INSERT INTO role VALUES ('000000000007', 'bare', '/service/', 'AROAAAAAAAAAAAAAAAAAA', NULL, '{"Version":"2012-10-17","Statement":[]}', 3600, 1800000000003, '{}');
INSERT INTO role_policy VALUES ('000000000007', 'app', 'logs', '{"Statement":[]}');
INSERT INTO role_attachment VALUES ('000000000007', 'app', 'arn:aws:iam::000000000007:policy/service/kept');
INSERT INTO role_attachment VALUES ('000000000007', 'app', 'arn:aws:iam::aws:policy/X');
INSERT INTO image VALUES ('arn:aws:lambda:us-east-1:000000000007:microvm-image:hello', '000000000007/us-east-1', 'hello', '00000000-0000-3000-8000-000000000001', 'UPDATED', 1, 2, 2, 1800000000010, 1800000000011);
INSERT INTO image VALUES ('arn:aws:lambda:us-east-1:000000000007:microvm-image:new', '000000000007/us-east-1', 'new', '00000000-0000-3000-8000-000000000002', 'CREATING', NULL, NULL, 2, 1800000000010, 1800000000011);
INSERT INTO version VALUES ('arn:aws:lambda:us-east-1:000000000007:microvm-image:hello', 1, 'SUCCESSFUL', 'ACTIVE', '{"base":"arn:aws:lambda:us-east-1:aws:microvm-image:al2023-1","base_version":1,"build_role_arn":"arn:aws:iam::000000000000:role/build","description":"a \"quoted\" text","bucket":"b","key":"k/e.zip","logging":{"enabled":true,"group":"/g","stream":null},"egress":["arn:aws:lambda:us-east-1:aws:network-connector:aws-network-connector:INTERNET_EGRESS"],"architectures":["X86_64"],"memory_mib":4096,"all_capabilities":true,"hooks":{"port":9000,"microvm":{"run":[true,5],"resume":[true,null],"suspend":[false,null],"terminate":[null,null]},"image":{"ready":[true,300],"validate":[null,null]}},"environment":{"A":"b=c"}}', 'snapshot-1', 1800000000012, 1800000000013);
INSERT INTO version VALUES ('arn:aws:lambda:us-east-1:000000000007:microvm-image:hello', 2, 'FAILED', 'INACTIVE', '{"base":"arn:aws:lambda:us-east-1:aws:microvm-image:al2023-1","base_version":null,"build_role_arn":"arn:aws:iam::000000000000:role/build","description":null,"bucket":"b","key":"k/e.zip","logging":null,"egress":[],"architectures":null,"memory_mib":4096,"all_capabilities":false,"hooks":null,"environment":null}', NULL, 1800000000012, 1800000000013);
INSERT INTO build VALUES ('00000000-0000-3000-8000-000000000010', 'arn:aws:lambda:us-east-1:000000000007:microvm-image:hello', 1, '000000000007/us-east-1', 'SUCCESSFUL', 'X86_64', 'generation-1', NULL, -1, 2, 3, 1, 1800000000014);
INSERT INTO build VALUES ('00000000-0000-3000-8000-000000000011', 'arn:aws:lambda:us-east-1:000000000007:microvm-image:hello', 2, '000000000007/us-east-1', 'FAILED', 'ARM_64', 'generation-1', 'it''s broken', NULL, NULL, NULL, 1, 1800000000014);
INSERT INTO microvm VALUES ('microvm-00000000-0000-3000-8000-000000000000', '000000000007/us-east-1', 'arn:aws:lambda:us-east-1:000000000007:microvm-image:hello', 1, '00000000-0000-3000-8000-000000000100', '{"endpoint":"127.0.0.1:20000","memory_mib":512,"hooks":{"port":9000,"microvm":{"run":[true,5],"resume":[true,null],"suspend":[false,null],"terminate":[null,null]},"image":{"ready":[true,300],"validate":[null,null]}},"execution_role_arn":"arn:aws:iam::000000000000:role/run","idle":{"max_idle_s":60,"suspended_s":0,"auto_resume":true},"max_duration_s":28800,"ingress":["arn:aws:lambda:us-east-1:aws:network-connector:aws-network-connector:ALL_INGRESS"],"egress":["arn:aws:lambda:us-east-1:aws:network-connector:aws-network-connector:INTERNET_EGRESS"],"logging":{"enabled":false,"group":null,"stream":null},"payload":"{}"}', 1800000000015, 'LAUNCHING', NULL, NULL, NULL, NULL, NULL, 0, 1, 1);
INSERT INTO microvm VALUES ('microvm-00000000-0000-3000-8000-000000000001', '000000000007/us-east-1', 'arn:aws:lambda:us-east-1:000000000007:microvm-image:hello', 1, '00000000-0000-3000-8000-000000000101', '{"endpoint":"127.0.0.1:20000","memory_mib":512,"hooks":null,"execution_role_arn":null,"idle":null,"max_duration_s":60,"ingress":[],"egress":[],"logging":null,"payload":null}', 1800000000015, 'RUN_HOOK', NULL, 'RUN', 'it''s over', NULL, NULL, 1, 0, 1);
INSERT INTO microvm VALUES ('microvm-00000000-0000-3000-8000-000000000002', '000000000007/us-east-1', 'arn:aws:lambda:us-east-1:000000000007:microvm-image:hello', 1, '00000000-0000-3000-8000-000000000102', '{"endpoint":"127.0.0.1:20000","memory_mib":512,"hooks":{"port":9000,"microvm":{"run":[true,5],"resume":[true,null],"suspend":[false,null],"terminate":[null,null]},"image":{"ready":[true,300],"validate":[null,null]}},"execution_role_arn":"arn:aws:iam::000000000000:role/run","idle":{"max_idle_s":60,"suspended_s":0,"auto_resume":true},"max_duration_s":28800,"ingress":["arn:aws:lambda:us-east-1:aws:network-connector:aws-network-connector:ALL_INGRESS"],"egress":["arn:aws:lambda:us-east-1:aws:network-connector:aws-network-connector:INTERNET_EGRESS"],"logging":{"enabled":false,"group":null,"stream":null},"payload":"{}"}', 1800000000015, 'RUNNING', NULL, 'SLEEP', NULL, NULL, NULL, 0, 1, 1);
INSERT INTO microvm VALUES ('microvm-00000000-0000-3000-8000-000000000003', '000000000007/us-east-1', 'arn:aws:lambda:us-east-1:000000000007:microvm-image:hello', 1, '00000000-0000-3000-8000-000000000103', '{"endpoint":"127.0.0.1:20000","memory_mib":512,"hooks":null,"execution_role_arn":null,"idle":null,"max_duration_s":60,"ingress":[],"egress":[],"logging":null,"payload":null}', 1800000000015, 'SUSPEND_HOOK', NULL, NULL, 'it''s over', NULL, NULL, 1, 0, 1);
INSERT INTO microvm VALUES ('microvm-00000000-0000-3000-8000-000000000004', '000000000007/us-east-1', 'arn:aws:lambda:us-east-1:000000000007:microvm-image:hello', 1, '00000000-0000-3000-8000-000000000104', '{"endpoint":"127.0.0.1:20000","memory_mib":512,"hooks":{"port":9000,"microvm":{"run":[true,5],"resume":[true,null],"suspend":[false,null],"terminate":[null,null]},"image":{"ready":[true,300],"validate":[null,null]}},"execution_role_arn":"arn:aws:iam::000000000000:role/run","idle":{"max_idle_s":60,"suspended_s":0,"auto_resume":true},"max_duration_s":28800,"ingress":["arn:aws:lambda:us-east-1:aws:network-connector:aws-network-connector:ALL_INGRESS"],"egress":["arn:aws:lambda:us-east-1:aws:network-connector:aws-network-connector:INTERNET_EGRESS"],"logging":{"enabled":false,"group":null,"stream":null},"payload":"{}"}', 1800000000015, 'SAVING', NULL, 'RUN', NULL, NULL, NULL, 0, 1, 1);
INSERT INTO microvm VALUES ('microvm-00000000-0000-3000-8000-000000000005', '000000000007/us-east-1', 'arn:aws:lambda:us-east-1:000000000007:microvm-image:hello', 1, '00000000-0000-3000-8000-000000000105', '{"endpoint":"127.0.0.1:20000","memory_mib":512,"hooks":null,"execution_role_arn":null,"idle":null,"max_duration_s":60,"ingress":[],"egress":[],"logging":null,"payload":null}', 1800000000015, 'SUSPENDED', 1800000000020, 'SLEEP', 'it''s over', NULL, NULL, 1, 0, 1);
INSERT INTO microvm VALUES ('microvm-00000000-0000-3000-8000-000000000006', '000000000007/us-east-1', 'arn:aws:lambda:us-east-1:000000000007:microvm-image:hello', 1, '00000000-0000-3000-8000-000000000106', '{"endpoint":"127.0.0.1:20000","memory_mib":512,"hooks":{"port":9000,"microvm":{"run":[true,5],"resume":[true,null],"suspend":[false,null],"terminate":[null,null]},"image":{"ready":[true,300],"validate":[null,null]}},"execution_role_arn":"arn:aws:iam::000000000000:role/run","idle":{"max_idle_s":60,"suspended_s":0,"auto_resume":true},"max_duration_s":28800,"ingress":["arn:aws:lambda:us-east-1:aws:network-connector:aws-network-connector:ALL_INGRESS"],"egress":["arn:aws:lambda:us-east-1:aws:network-connector:aws-network-connector:INTERNET_EGRESS"],"logging":{"enabled":false,"group":null,"stream":null},"payload":"{}"}', 1800000000015, 'RESTORING', 1800000000020, NULL, NULL, NULL, NULL, 0, 1, 1);
INSERT INTO microvm VALUES ('microvm-00000000-0000-3000-8000-000000000007', '000000000007/us-east-1', 'arn:aws:lambda:us-east-1:000000000007:microvm-image:hello', 1, '00000000-0000-3000-8000-000000000107', '{"endpoint":"127.0.0.1:20000","memory_mib":512,"hooks":null,"execution_role_arn":null,"idle":null,"max_duration_s":60,"ingress":[],"egress":[],"logging":null,"payload":null}', 1800000000015, 'RESUME_HOOK', NULL, 'RUN', 'it''s over', NULL, NULL, 1, 0, 1);
INSERT INTO microvm VALUES ('microvm-00000000-0000-3000-8000-000000000008', '000000000007/us-east-1', 'arn:aws:lambda:us-east-1:000000000007:microvm-image:hello', 1, '00000000-0000-3000-8000-000000000108', '{"endpoint":"127.0.0.1:20000","memory_mib":512,"hooks":{"port":9000,"microvm":{"run":[true,5],"resume":[true,null],"suspend":[false,null],"terminate":[null,null]},"image":{"ready":[true,300],"validate":[null,null]}},"execution_role_arn":"arn:aws:iam::000000000000:role/run","idle":{"max_idle_s":60,"suspended_s":0,"auto_resume":true},"max_duration_s":28800,"ingress":["arn:aws:lambda:us-east-1:aws:network-connector:aws-network-connector:ALL_INGRESS"],"egress":["arn:aws:lambda:us-east-1:aws:network-connector:aws-network-connector:INTERNET_EGRESS"],"logging":{"enabled":false,"group":null,"stream":null},"payload":"{}"}', 1800000000015, 'BACK_HOOK', NULL, 'SLEEP', NULL, NULL, NULL, 0, 1, 1);
INSERT INTO microvm VALUES ('microvm-00000000-0000-3000-8000-000000000009', '000000000007/us-east-1', 'arn:aws:lambda:us-east-1:000000000007:microvm-image:hello', 1, '00000000-0000-3000-8000-000000000109', '{"endpoint":"127.0.0.1:20000","memory_mib":512,"hooks":null,"execution_role_arn":null,"idle":null,"max_duration_s":60,"ingress":[],"egress":[],"logging":null,"payload":null}', 1800000000015, 'TERMINATE_HOOK', NULL, NULL, 'it''s over', NULL, NULL, 1, 0, 1);
INSERT INTO microvm VALUES ('microvm-00000000-0000-3000-8000-000000000010', '000000000007/us-east-1', 'arn:aws:lambda:us-east-1:000000000007:microvm-image:hello', 1, '00000000-0000-3000-8000-000000000110', '{"endpoint":"127.0.0.1:20000","memory_mib":512,"hooks":{"port":9000,"microvm":{"run":[true,5],"resume":[true,null],"suspend":[false,null],"terminate":[null,null]},"image":{"ready":[true,300],"validate":[null,null]}},"execution_role_arn":"arn:aws:iam::000000000000:role/run","idle":{"max_idle_s":60,"suspended_s":0,"auto_resume":true},"max_duration_s":28800,"ingress":["arn:aws:lambda:us-east-1:aws:network-connector:aws-network-connector:ALL_INGRESS"],"egress":["arn:aws:lambda:us-east-1:aws:network-connector:aws-network-connector:INTERNET_EGRESS"],"logging":{"enabled":false,"group":null,"stream":null},"payload":"{}"}', 1800000000015, 'REMOVING', NULL, 'RUN', NULL, NULL, NULL, 0, 1, 1);
INSERT INTO microvm VALUES ('microvm-00000000-0000-3000-8000-000000000011', '000000000007/us-east-1', 'arn:aws:lambda:us-east-1:000000000007:microvm-image:hello', 1, '00000000-0000-3000-8000-000000000111', '{"endpoint":"127.0.0.1:20000","memory_mib":512,"hooks":null,"execution_role_arn":null,"idle":null,"max_duration_s":60,"ingress":[],"egress":[],"logging":null,"payload":null}', 1800000000015, 'TERMINATED', NULL, 'SLEEP', 'it''s over', 1800000000021, NULL, 1, 0, 1);
INSERT INTO microvm VALUES ('microvm-00000000-0000-3000-8000-000000000012', '000000000007/us-east-1', 'arn:aws:lambda:us-east-1:000000000007:microvm-image:hello', 1, '00000000-0000-3000-8000-000000000112', '{"endpoint":"127.0.0.1:20000","memory_mib":512,"hooks":{"port":9000,"microvm":{"run":[true,5],"resume":[true,null],"suspend":[false,null],"terminate":[null,null]},"image":{"ready":[true,300],"validate":[null,null]}},"execution_role_arn":"arn:aws:iam::000000000000:role/run","idle":{"max_idle_s":60,"suspended_s":0,"auto_resume":true},"max_duration_s":28800,"ingress":["arn:aws:lambda:us-east-1:aws:network-connector:aws-network-connector:ALL_INGRESS"],"egress":["arn:aws:lambda:us-east-1:aws:network-connector:aws-network-connector:INTERNET_EGRESS"],"logging":{"enabled":false,"group":null,"stream":null},"payload":"{}"}', 1800000000015, 'FORKING', NULL, NULL, NULL, NULL, 'microvm-00000000-0000-3000-8000-000000000002', 0, 1, 1);
INSERT INTO microvm VALUES ('microvm-00000000-0000-3000-8000-000000000013', '000000000007/us-east-1', 'arn:aws:lambda:us-east-1:000000000007:microvm-image:hello', 1, '00000000-0000-3000-8000-000000000113', '{"endpoint":"127.0.0.1:20000","memory_mib":512,"hooks":null,"execution_role_arn":null,"idle":null,"max_duration_s":60,"ingress":[],"egress":[],"logging":null,"payload":null}', 1800000000015, 'FORK_HOOK', NULL, 'RUN', 'it''s over', NULL, 'microvm-00000000-0000-3000-8000-000000000002', 1, 0, 1);
INSERT INTO microvm VALUES ('microvm-00000000-0000-3000-8000-000000000014', '000000000007/us-east-1', 'arn:aws:lambda:us-east-1:000000000007:microvm-image:hello', 1, '00000000-0000-3000-8000-000000000114', '{"endpoint":"127.0.0.1:20000","memory_mib":512,"hooks":{"port":9000,"microvm":{"run":[true,5],"resume":[true,null],"suspend":[false,null],"terminate":[null,null]},"image":{"ready":[true,300],"validate":[null,null]}},"execution_role_arn":"arn:aws:iam::000000000000:role/run","idle":{"max_idle_s":60,"suspended_s":0,"auto_resume":true},"max_duration_s":28800,"ingress":["arn:aws:lambda:us-east-1:aws:network-connector:aws-network-connector:ALL_INGRESS"],"egress":["arn:aws:lambda:us-east-1:aws:network-connector:aws-network-connector:INTERNET_EGRESS"],"logging":{"enabled":false,"group":null,"stream":null},"payload":"{}"}', 1800000000015, 'SEALING', NULL, 'SLEEP', NULL, NULL, NULL, 0, 1, 1);
INSERT INTO microvm VALUES ('microvm-00000000-0000-3000-8000-000000000015', '000000000007/us-east-1', 'arn:aws:lambda:us-east-1:000000000007:microvm-image:hello', 1, '00000000-0000-3000-8000-000000000115', '{"endpoint":"127.0.0.1:20000","memory_mib":512,"hooks":null,"execution_role_arn":null,"idle":null,"max_duration_s":60,"ingress":[],"egress":[],"logging":null,"payload":null}', 1800000000015, 'SEALING', 1800000000020, NULL, 'it''s over', NULL, NULL, 1, 0, 1);
INSERT INTO connector VALUES ('nc-00000000-0000-3000-8000-000000000001', '000000000007/us-east-1', 'office', 'ACTIVE', NULL, NULL, 'arn:aws:iam::000000000007:role/x', 1, 2, 'Failed', 'no such subnet', 'InvalidSubnet', 1800000000030, 1800000000031);
INSERT INTO connector VALUES ('nc-00000000-0000-3000-8000-000000000002', '000000000007/us-east-1', 'lab', 'FAILED', 'no such group', 'InvalidSecurityGroup', 'arn:aws:iam::000000000007:role/x', 1, 2, NULL, NULL, NULL, 1800000000030, 1800000000031);
INSERT INTO connector_version VALUES ('nc-00000000-0000-3000-8000-000000000001', 1, '{"subnets":["subnet-a"],"groups":null,"protocol":"DualStack","compute":"MicroVm","elastic_ip":"None"}', 'arn:aws:iam::000000000007:role/x', 'ACTIVE', NULL, NULL, 1800000000032);
INSERT INTO connector_version VALUES ('nc-00000000-0000-3000-8000-000000000001', 2, '{"subnets":[],"groups":["sg-a"],"protocol":"IPv4","compute":"WebFunction","elastic_ip":null}', 'arn:aws:iam::000000000007:role/x', 'FAILED', 'no such subnet', 'InternalError', 1800000000032);
INSERT INTO tag VALUES ('arn:aws:lambda:us-east-1:000000000007:microvm-image:hello', 'team', 'it''s us');
INSERT INTO client_token VALUES ('000000000007/us-east-1', 'RunMicrovm', 'token-1', X'ABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABAB', 'microvm-00000000-0000-3000-8000-000000000000', 1800000000005);
INSERT INTO journal VALUES (1, 'microvm-00000000-0000-3000-8000-000000000000', 'Suspend', 1800000000040, 'replaced', 1800000000040);
INSERT INTO journal VALUES (2, 'microvm-00000000-0000-3000-8000-000000000000', 'Seal', 1800000000040, 'Running', 1800000000050);
INSERT INTO journal VALUES (3, 'microvm-00000000-0000-3000-8000-000000000000', 'Launch', 1800000000040, NULL, NULL);
INSERT INTO journal VALUES (4, 'arn:aws:lambda:us-east-1:000000000007:microvm-image:hello', 'Suspend', 1800000000041, 'replaced', 1800000000041);
INSERT INTO journal VALUES (5, 'arn:aws:lambda:us-east-1:000000000007:microvm-image:hello', 'Seal', 1800000000041, 'Running', 1800000000050);
INSERT INTO journal VALUES (6, 'arn:aws:lambda:us-east-1:000000000007:microvm-image:hello', 'Build', 1800000000041, NULL, NULL);
INSERT INTO policy VALUES ('arn:aws:iam::000000000007:policy/service/kept', '000000000007', '/service/', 'kept', 'ANPAAAAAAAAAAAAAAAAAA', 'it''s ours', 1, 2, '{"team":"it''s us"}', 1800000000004, 1800000000006);
INSERT INTO policy VALUES ('arn:aws:iam::000000000007:policy/service/spare', '000000000007', '/service/', 'spare', 'ANPAAAAAAAAAAAAAAAAAA', NULL, 1, 2, '{}', 1800000000004, 1800000000006);
INSERT INTO policy_version VALUES ('arn:aws:iam::000000000007:policy/service/kept', 1, '{"Statement":[]}', 1800000000004);
INSERT INTO policy_version VALUES ('arn:aws:iam::000000000007:policy/service/kept', 2, '{"Statement":[]}', 1800000000006);
