-- Registered components. Several digests may be registered under one name; at most one of them
-- is approved.
CREATE TABLE packages (
    name        TEXT   NOT NULL,
    digest      TEXT   NOT NULL,
    version     TEXT   NOT NULL,
    bytes       BIGINT NOT NULL,
    description TEXT   NOT NULL, -- JSON
    state       TEXT   NOT NULL CHECK (state IN ('pending', 'approved', 'superseded')),
    added_at    TEXT   NOT NULL, -- RFC 3339
    approved_at TEXT,            -- RFC 3339
    PRIMARY KEY (name, digest)
);

CREATE UNIQUE INDEX packages_one_approved ON packages (name) WHERE state = 'approved';

-- Each change of grants. Numbers begin at 1 and have no gaps.
CREATE TABLE revisions (
    number  BIGINT NOT NULL PRIMARY KEY,
    made_at TEXT   NOT NULL, -- RFC 3339
    made_by TEXT   NOT NULL,
    granted TEXT   NOT NULL, -- JSON list of grant ids
    revoked TEXT   NOT NULL, -- JSON list of grant ids
    groups  TEXT   NOT NULL, -- JSON list of the groups that were set
    source  TEXT             -- the grants file, if one made the change
);

-- A grant is never deleted, so its id is never used again.
CREATE TABLE grants (
    id               BIGINT NOT NULL PRIMARY KEY,
    package          TEXT   NOT NULL,
    digest           TEXT   NOT NULL,
    terms            TEXT   NOT NULL, -- JSON
    created_revision BIGINT NOT NULL REFERENCES revisions (number),
    revoked_revision BIGINT REFERENCES revisions (number)
);

CREATE INDEX grants_in_force ON grants (package) WHERE revoked_revision IS NULL;

-- Who is in which group now.
CREATE TABLE agent_groups (
    name    TEXT NOT NULL PRIMARY KEY,
    members TEXT NOT NULL -- JSON
);

-- A change that is decided but not yet in force: it is written here first, then to the audit
-- log, then put in force. What is still here at start is finished if the log has it, else dropped.
CREATE TABLE pending_change (
    slot INTEGER NOT NULL PRIMARY KEY CHECK (slot = 1),
    plan TEXT    NOT NULL -- JSON
);
