-- Every time is UTC in milliseconds since 1970. Every JSON text was written by this software.

CREATE TABLE session_finals (
    session_id TEXT NOT NULL CHECK (length(session_id) BETWEEN 1 AND 64),
    revision INTEGER NOT NULL CHECK (revision >= 1),
    org_id TEXT NOT NULL,
    principal_id TEXT NOT NULL,
    status TEXT NOT NULL,
    ended_unix_ms INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (session_id, revision)
) STRICT;

CREATE TABLE policy_changes (
    revision INTEGER NOT NULL PRIMARY KEY CHECK (revision >= 1),
    change TEXT NOT NULL
) STRICT;

-- The newest book only: the changes tell how it came about.
CREATE TABLE policy_book (
    only INTEGER NOT NULL PRIMARY KEY CHECK (only = 1),
    revision INTEGER NOT NULL REFERENCES policy_changes (revision),
    book TEXT NOT NULL
) STRICT;

CREATE TABLE audit_entries (
    position INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    entry_id TEXT NOT NULL UNIQUE,
    at_unix_ms INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;

-- What a probe writes.
CREATE TABLE probes (
    only INTEGER NOT NULL PRIMARY KEY CHECK (only = 1),
    count INTEGER NOT NULL
) STRICT;

INSERT INTO probes (only, count) VALUES (1, 0);
