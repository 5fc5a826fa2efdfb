-- Who may be an author as well. SQLite can't change a check, so the table is made anew.
CREATE TABLE principals_with_authors (
    name     TEXT NOT NULL PRIMARY KEY,
    role     TEXT NOT NULL CHECK (role IN ('agent', 'author', 'admin', 'auditor')),
    note     TEXT,
    standing TEXT NOT NULL CHECK (standing IN ('added', 'removed')),
    made_by  TEXT NOT NULL,
    made_at  TEXT NOT NULL -- RFC 3339
);
INSERT INTO principals_with_authors (name, role, note, standing, made_by, made_at)
    SELECT name, role, note, standing, made_by, made_at FROM principals;
DROP TABLE principals;
ALTER TABLE principals_with_authors RENAME TO principals;

-- API keys. The key itself is nowhere; what is here can't be made to one without a key that is not in here.
CREATE TABLE api_keys (
    prefix     TEXT   NOT NULL PRIMARY KEY, -- its public beginning
    hash       TEXT   NOT NULL,             -- keyed BLAKE3 of the whole, in hex
    principal  TEXT   NOT NULL,
    role       TEXT   NOT NULL CHECK (role IN ('agent', 'author', 'admin', 'auditor')),
    expires    TEXT,                        -- RFC 3339
    revision   BIGINT NOT NULL,             -- that which made it
    made_by    TEXT   NOT NULL,
    made_at    TEXT   NOT NULL,             -- RFC 3339
    last_used  TEXT                         -- RFC 3339, at most a minute behind
);
