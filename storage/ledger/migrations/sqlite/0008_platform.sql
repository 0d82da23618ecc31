-- What people's programs tell of their use, one row an event.
CREATE TABLE analytics_events (
    event_id TEXT NOT NULL PRIMARY KEY,
    org_id TEXT NOT NULL,
    at_unix_ms INTEGER NOT NULL,
    received_unix_ms INTEGER NOT NULL,
    name TEXT NOT NULL,
    category TEXT NOT NULL,
    resource_type TEXT,
    resource_id TEXT,
    page_url TEXT,
    referrer_url TEXT,
    numeric_value REAL,
    properties TEXT NOT NULL,
    circumstances TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX analytics_events_newest ON analytics_events (org_id, received_unix_ms);
CREATE INDEX analytics_events_oldest ON analytics_events (received_unix_ms);

-- One row an error, however often it was reported; the texts are those of the first report.
CREATE TABLE error_groups (
    org_id TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    error_type TEXT NOT NULL,
    error_code TEXT,
    feature TEXT,
    message TEXT NOT NULL,
    stack TEXT NOT NULL,
    reports INTEGER NOT NULL,
    first_seen_unix_ms INTEGER NOT NULL,
    last_seen_unix_ms INTEGER NOT NULL,
    PRIMARY KEY (org_id, fingerprint)
) STRICT, WITHOUT ROWID;

CREATE INDEX error_groups_oldest ON error_groups (last_seen_unix_ms);

CREATE TABLE error_reports (
    report_id TEXT NOT NULL PRIMARY KEY,
    org_id TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    received_unix_ms INTEGER NOT NULL,
    error_type TEXT NOT NULL,
    error_code TEXT,
    feature TEXT,
    message TEXT NOT NULL,
    stack TEXT NOT NULL,
    detail TEXT NOT NULL,
    circumstances TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX error_reports_newest ON error_reports (org_id, fingerprint, received_unix_ms);
CREATE INDEX error_reports_oldest ON error_reports (received_unix_ms);

-- The media sessions that nothing is due of, by age.
CREATE INDEX media_sessions_oldest ON media_sessions (last_received_unix_ms)
    WHERE due_unix_ms IS NULL;

-- The audit's chain. Entries from before it have no link until the first one behind them is stored.
ALTER TABLE audit_entries ADD COLUMN link INTEGER;
ALTER TABLE audit_entries ADD COLUMN hash TEXT;
ALTER TABLE audit_entries ADD COLUMN digest TEXT;
-- A person was taken out of it: the digest is of what it was.
ALTER TABLE audit_entries ADD COLUMN redacted INTEGER NOT NULL DEFAULT 0;
CREATE UNIQUE INDEX audit_entries_link ON audit_entries (link);

CREATE TABLE audit_chain (
    only INTEGER NOT NULL PRIMARY KEY CHECK (only = 1),
    links INTEGER NOT NULL,
    hash TEXT NOT NULL,
    removed_links INTEGER NOT NULL,
    removed_hash TEXT NOT NULL
) STRICT;

INSERT INTO audit_chain VALUES (1, 0, '0000000000000000000000000000000000000000000000000000000000000000', 0, '0000000000000000000000000000000000000000000000000000000000000000');

-- Entries are appended. None is changed but by an erasure, and only those that the chain counts as removed may go.
CREATE TRIGGER audit_entries_unchanged BEFORE UPDATE ON audit_entries
WHEN OLD.link IS NOT NULL AND NOT (NEW.redacted = 1 AND NEW.position = OLD.position
    AND NEW.entry_id = OLD.entry_id AND NEW.at_unix_ms = OLD.at_unix_ms AND NEW.link = OLD.link
    AND NEW.action = OLD.action AND NEW.hash = OLD.hash AND NEW.digest = OLD.digest) BEGIN
    SELECT RAISE(ABORT, 'audit entries are not changed');
END;

CREATE TRIGGER audit_entries_kept BEFORE DELETE ON audit_entries
WHEN OLD.link IS NULL OR OLD.link > (SELECT removed_links FROM audit_chain) BEGIN
    SELECT RAISE(ABORT, 'audit entries are not removed');
END;
