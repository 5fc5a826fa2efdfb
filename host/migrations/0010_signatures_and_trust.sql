-- Signatures of components: of bytes, under whatever name. Kept as they came, and verified whenever they count.
CREATE TABLE package_signatures (
    digest    TEXT NOT NULL,
    signature TEXT NOT NULL, -- as minisign writes it
    added_by  TEXT NOT NULL,
    added_at  TEXT NOT NULL, -- RFC 3339
    PRIMARY KEY (digest, signature)
);

-- The trust policy that is in force, if there is one.
CREATE TABLE trust (
    slot     INTEGER NOT NULL PRIMARY KEY CHECK (slot = 1),
    text     TEXT    NOT NULL, -- TOML
    revision BIGINT  NOT NULL, -- that which put it in force
    made_by  TEXT    NOT NULL,
    made_at  TEXT    NOT NULL  -- RFC 3339
);
