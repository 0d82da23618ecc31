-- Every time is UTC in milliseconds since 1970. Every JSON text was written by this software.
-- Texts that are keys or are ordered by have the collation "C": the same order as in SQLite.
--
-- A table with an org_id has row-level security, also for its owner: a transaction sees and writes
-- the rows of the organisation in penstock.org_id, all rows where that is '*', and none where it is
-- not set. Each such table has the policy below and the CHECK, since '' is what an unset one becomes.

CREATE TABLE session_finals (
    session_id TEXT COLLATE "C" NOT NULL CHECK (length(session_id) BETWEEN 1 AND 64),
    revision BIGINT NOT NULL CHECK (revision >= 1),
    org_id TEXT COLLATE "C" NOT NULL CHECK (org_id NOT IN ('', '*')),
    principal_id TEXT COLLATE "C" NOT NULL,
    status TEXT NOT NULL,
    ended_unix_ms BIGINT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (session_id, revision)
);

ALTER TABLE session_finals ENABLE ROW LEVEL SECURITY;
ALTER TABLE session_finals FORCE ROW LEVEL SECURITY;
CREATE POLICY org_scope ON session_finals USING (
    (SELECT current_setting('penstock.org_id', true)) IN (org_id, '*')
);

CREATE TABLE policy_changes (
    revision BIGINT NOT NULL PRIMARY KEY CHECK (revision >= 1),
    change TEXT NOT NULL
);

-- The newest book only: the changes tell how it came about.
CREATE TABLE policy_book (
    "only" BIGINT NOT NULL PRIMARY KEY CHECK ("only" = 1),
    revision BIGINT NOT NULL REFERENCES policy_changes (revision),
    book TEXT NOT NULL
);

CREATE TABLE audit_entries (
    position BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    entry_id TEXT COLLATE "C" NOT NULL UNIQUE,
    at_unix_ms BIGINT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL
);

-- What a probe writes.
CREATE TABLE probes (
    "only" BIGINT NOT NULL PRIMARY KEY CHECK ("only" = 1),
    count BIGINT NOT NULL
);

INSERT INTO probes ("only", count) VALUES (1, 0);
