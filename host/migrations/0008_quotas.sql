-- What an admin says of how much principals and packages may use; what is not said is as the host's limits say.
CREATE TABLE quotas (
    kind   TEXT NOT NULL CHECK (kind IN ('principal', 'package')),
    name   TEXT NOT NULL,
    quotas TEXT NOT NULL, -- JSON
    PRIMARY KEY (kind, name)
);

-- What was used within the windows that count, a few seconds behind.
CREATE TABLE quota_usage (
    kind     TEXT   NOT NULL CHECK (kind IN ('principal', 'package')),
    name     TEXT   NOT NULL,
    resource TEXT   NOT NULL CHECK (resource IN ('calls', 'fuel', 'egress')),
    step     BIGINT NOT NULL, -- of the window, since 1970
    used     BIGINT NOT NULL,
    PRIMARY KEY (kind, name, resource, step)
);
