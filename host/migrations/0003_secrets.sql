-- Stored secrets, encrypted to a key that is not in here.
CREATE TABLE secrets (
    name       TEXT   NOT NULL PRIMARY KEY,
    ciphertext TEXT   NOT NULL, -- base64 of an age file
    recipient  TEXT   NOT NULL, -- whose key opens it
    revision   BIGINT NOT NULL, -- that which set it last
    made_at    TEXT   NOT NULL, -- RFC 3339
    made_by    TEXT   NOT NULL,
    updated_at TEXT   NOT NULL, -- RFC 3339
    updated_by TEXT   NOT NULL
);
