-- What people's programs tell of their use, one row an event.
CREATE TABLE analytics_events (
    event_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    org_id TEXT COLLATE "C" NOT NULL CHECK (org_id NOT IN ('', '*')),
    at_unix_ms BIGINT NOT NULL,
    received_unix_ms BIGINT NOT NULL,
    name TEXT NOT NULL,
    category TEXT NOT NULL,
    resource_type TEXT,
    resource_id TEXT,
    page_url TEXT,
    referrer_url TEXT,
    numeric_value DOUBLE PRECISION,
    properties TEXT NOT NULL,
    circumstances TEXT NOT NULL
);

ALTER TABLE analytics_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE analytics_events FORCE ROW LEVEL SECURITY;
CREATE POLICY org_scope ON analytics_events USING (
    (SELECT current_setting('penstock.org_id', true)) IN (org_id, '*')
);

CREATE INDEX analytics_events_newest ON analytics_events (org_id, received_unix_ms);
CREATE INDEX analytics_events_oldest ON analytics_events (received_unix_ms);

-- One row an error, however often it was reported; the texts are those of the first report.
CREATE TABLE error_groups (
    org_id TEXT COLLATE "C" NOT NULL CHECK (org_id NOT IN ('', '*')),
    fingerprint TEXT COLLATE "C" NOT NULL,
    error_type TEXT NOT NULL,
    error_code TEXT,
    feature TEXT,
    message TEXT NOT NULL,
    stack TEXT NOT NULL,
    reports BIGINT NOT NULL,
    first_seen_unix_ms BIGINT NOT NULL,
    last_seen_unix_ms BIGINT NOT NULL,
    PRIMARY KEY (org_id, fingerprint)
);

ALTER TABLE error_groups ENABLE ROW LEVEL SECURITY;
ALTER TABLE error_groups FORCE ROW LEVEL SECURITY;
CREATE POLICY org_scope ON error_groups USING (
    (SELECT current_setting('penstock.org_id', true)) IN (org_id, '*')
);

CREATE INDEX error_groups_oldest ON error_groups (last_seen_unix_ms);

CREATE TABLE error_reports (
    report_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    org_id TEXT COLLATE "C" NOT NULL CHECK (org_id NOT IN ('', '*')),
    fingerprint TEXT COLLATE "C" NOT NULL,
    received_unix_ms BIGINT NOT NULL,
    error_type TEXT NOT NULL,
    error_code TEXT,
    feature TEXT,
    message TEXT NOT NULL,
    stack TEXT NOT NULL,
    detail TEXT NOT NULL,
    circumstances TEXT NOT NULL
);

ALTER TABLE error_reports ENABLE ROW LEVEL SECURITY;
ALTER TABLE error_reports FORCE ROW LEVEL SECURITY;
CREATE POLICY org_scope ON error_reports USING (
    (SELECT current_setting('penstock.org_id', true)) IN (org_id, '*')
);

CREATE INDEX error_reports_newest ON error_reports (org_id, fingerprint, received_unix_ms);
CREATE INDEX error_reports_oldest ON error_reports (received_unix_ms);

-- The media sessions that nothing is due of, by age.
CREATE INDEX media_sessions_oldest ON media_sessions (last_received_unix_ms)
    WHERE due_unix_ms IS NULL;

-- The audit's chain. Entries from before it have no link until the first one behind them is stored.
ALTER TABLE audit_entries ADD COLUMN link BIGINT;
ALTER TABLE audit_entries ADD COLUMN hash TEXT;
ALTER TABLE audit_entries ADD COLUMN digest TEXT;
-- A person was taken out of it: the digest is of what it was.
ALTER TABLE audit_entries ADD COLUMN redacted BIGINT NOT NULL DEFAULT 0;
CREATE UNIQUE INDEX audit_entries_link ON audit_entries (link);

CREATE TABLE audit_chain (
    "only" BIGINT NOT NULL PRIMARY KEY CHECK ("only" = 1),
    links BIGINT NOT NULL,
    hash TEXT NOT NULL,
    removed_links BIGINT NOT NULL,
    removed_hash TEXT NOT NULL
);

INSERT INTO audit_chain VALUES (1, 0, '0000000000000000000000000000000000000000000000000000000000000000', 0, '0000000000000000000000000000000000000000000000000000000000000000');

-- Entries are appended. None is changed but by an erasure, and only those that the chain counts as removed may go.
CREATE FUNCTION audit_entries_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND (OLD.link IS NULL OR (NEW.redacted = 1
        AND NEW.position = OLD.position AND NEW.entry_id = OLD.entry_id
        AND NEW.at_unix_ms = OLD.at_unix_ms AND NEW.link = OLD.link AND NEW.action = OLD.action
        AND NEW.hash = OLD.hash AND NEW.digest = OLD.digest)) THEN
        RETURN NEW;
    END IF;
    IF TG_OP = 'DELETE' AND OLD.link <= (SELECT removed_links FROM audit_chain) THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'audit entries are neither changed nor removed';
END
$$;

CREATE TRIGGER audit_entries_kept BEFORE UPDATE OR DELETE ON audit_entries
    FOR EACH ROW EXECUTE FUNCTION audit_entries_kept();
