-- The outbox: one row for each revision of a final, on its way to the blob store and to Core.
CREATE TABLE deliveries (
    session_id TEXT NOT NULL,
    revision INTEGER NOT NULL,
    org_id TEXT NOT NULL,
    created_unix_ms INTEGER NOT NULL,
    replay_due INTEGER NOT NULL CHECK (replay_due IN (0, 1)),
    replay_url TEXT,
    replay_bytes INTEGER,
    replay_sha256 TEXT,
    published_unix_ms INTEGER,
    attempts INTEGER NOT NULL DEFAULT 0,
    next_unix_ms INTEGER NOT NULL,
    error TEXT NOT NULL DEFAULT '',
    -- pending, done, dead, superseded
    state TEXT NOT NULL,
    PRIMARY KEY (session_id, revision),
    FOREIGN KEY (session_id, revision) REFERENCES session_finals (session_id, revision)
) STRICT;

CREATE INDEX deliveries_due ON deliveries (next_unix_ms) WHERE state = 'pending';
CREATE INDEX deliveries_dead ON deliveries (session_id) WHERE state = 'dead';
