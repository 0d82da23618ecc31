-- The outbox: one row for each revision of a final, on its way to the blob store and to Core.
CREATE TABLE deliveries (
    session_id TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL,
    org_id TEXT COLLATE "C" NOT NULL CHECK (org_id NOT IN ('', '*')),
    created_unix_ms BIGINT NOT NULL,
    replay_due BIGINT NOT NULL CHECK (replay_due IN (0, 1)),
    replay_url TEXT,
    replay_bytes BIGINT,
    replay_sha256 TEXT,
    published_unix_ms BIGINT,
    attempts BIGINT NOT NULL DEFAULT 0,
    next_unix_ms BIGINT NOT NULL,
    error TEXT NOT NULL DEFAULT '',
    -- pending, done, dead, superseded
    state TEXT NOT NULL,
    PRIMARY KEY (session_id, revision),
    FOREIGN KEY (session_id, revision) REFERENCES session_finals (session_id, revision)
);

CREATE INDEX deliveries_due ON deliveries (next_unix_ms) WHERE state = 'pending';
CREATE INDEX deliveries_dead ON deliveries (session_id) WHERE state = 'dead';

ALTER TABLE deliveries ENABLE ROW LEVEL SECURITY;
ALTER TABLE deliveries FORCE ROW LEVEL SECURITY;
CREATE POLICY org_scope ON deliveries USING (
    (SELECT current_setting('penstock.org_id', true)) IN (org_id, '*')
);
