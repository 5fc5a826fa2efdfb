-- The stores in which packages keep state. A row is made with the first write, and goes with the last
-- component of its package.
CREATE TABLE kv_stores (
    id          BIGINT NOT NULL PRIMARY KEY,
    package     TEXT   NOT NULL,
    agent       TEXT   NOT NULL, -- empty: one store for all agents of the package
    name        TEXT   NOT NULL,
    keys        BIGINT NOT NULL, -- how many rows it has in kv_entries
    bytes       BIGINT NOT NULL, -- of their keys and values
    next_number BIGINT NOT NULL, -- of the next new key
    UNIQUE (package, agent, name)
);

CREATE TABLE kv_entries (
    store  BIGINT NOT NULL REFERENCES kv_stores (id),
    key    TEXT   NOT NULL,
    number BIGINT NOT NULL, -- the order of listing: it stays when the value changes
    value  BLOB   NOT NULL,
    PRIMARY KEY (store, key)
);

CREATE UNIQUE INDEX kv_entries_listed ON kv_entries (store, number);
