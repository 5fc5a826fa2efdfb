-- A revision is a change of all that is in force, not of grants only: what else was set, as JSON.
ALTER TABLE revisions ADD COLUMN step TEXT;

-- At most one row: while it is there, nothing runs.
CREATE TABLE freeze (
    slot     INTEGER NOT NULL PRIMARY KEY CHECK (slot = 1),
    because  TEXT    NOT NULL,
    made_by  TEXT    NOT NULL,
    made_at  TEXT    NOT NULL -- RFC 3339
);

-- What may not run, whatever was approved. It outlives the package, so that removing one and adding
-- it again lifts nothing.
CREATE TABLE quarantines (
    package TEXT NOT NULL,
    digest  TEXT NOT NULL, -- empty: all of the package
    because TEXT NOT NULL,
    made_by TEXT NOT NULL,
    made_at TEXT NOT NULL, -- RFC 3339
    PRIMARY KEY (package, digest)
);

-- Principals that were added or removed. A row is never deleted: a name that was removed stays barred.
CREATE TABLE principals (
    name     TEXT NOT NULL PRIMARY KEY,
    role     TEXT NOT NULL CHECK (role IN ('agent', 'admin', 'auditor')),
    note     TEXT,
    standing TEXT NOT NULL CHECK (standing IN ('added', 'removed')),
    made_by  TEXT NOT NULL,
    made_at  TEXT NOT NULL -- RFC 3339
);
