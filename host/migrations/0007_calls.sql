-- Calls that outlive their request: those that were asked for asynchronously, and those with an Idempotency-Key.
-- Of others there is no row. Times are milliseconds since 1970-01-01T00:00:00Z.
CREATE TABLE calls (
    id              TEXT   NOT NULL PRIMARY KEY, -- a UUID of version 7, so that ids sort by time
    asked_by        TEXT   NOT NULL,             -- the principal itself, or the owner of the data folder in its name
    principal       TEXT   NOT NULL,             -- in whose name
    package         TEXT   NOT NULL,
    tool            TEXT   NOT NULL,
    mode            TEXT   NOT NULL CHECK (mode IN ('sync', 'async')),
    idempotency_key TEXT,
    fingerprint     TEXT,                        -- of the request, if it has a key: SHA-256 in hex
    state           TEXT   NOT NULL CHECK (state IN ('open', 'succeeded', 'failed', 'cancelled', 'interrupted')),
    accepted_at     BIGINT NOT NULL,
    ended_at        BIGINT,                      -- none while it is open
    keep_until      BIGINT,                      -- none while it is open
    answer_bytes    BIGINT NOT NULL,             -- 0 if there is none
    answer          TEXT                         -- what its caller was told, as JSON; none: not yet, or not any more
);
-- Those without a key are as different as those with different ones.
CREATE UNIQUE INDEX calls_keys ON calls (asked_by, principal, idempotency_key);
CREATE INDEX calls_sizes ON calls (asked_by, principal, answer_bytes);
CREATE INDEX calls_ends ON calls (keep_until);
