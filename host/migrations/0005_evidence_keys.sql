-- Keys that salts of commitments are made of, and payloads encrypted with. Encrypted to a key that is not in
-- here. A row stays when its key is erased, so that its number is never used again.
CREATE TABLE evidence_keys (
    number    BIGINT NOT NULL PRIMARY KEY, -- as records of calls name it
    principal TEXT   NOT NULL,             -- whose calls
    sealed    TEXT   NOT NULL,             -- base64; empty once it is erased
    made_at   TEXT   NOT NULL,             -- RFC 3339
    erased_at TEXT                         -- RFC 3339
);
CREATE INDEX evidence_keys_of ON evidence_keys (principal, number);
