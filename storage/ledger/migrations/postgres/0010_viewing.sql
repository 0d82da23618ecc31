-- Which audit entries are about security: set when one is stored (see engine/platform/security.py).
-- The audit's chain says nothing of it: it finds entries, and proves none.
ALTER TABLE audit_entries ADD COLUMN security TEXT;

ALTER TABLE audit_entries DISABLE TRIGGER audit_entries_kept;

-- A detail with an escaped NUL is no JSON to PostgreSQL. Core's ingested entries alone could have one.
WITH told AS (
    SELECT position, action,
        CASE WHEN strpos(detail, '\u0000') = 0 THEN detail::json ->> 'status' END AS status,
        CASE WHEN strpos(detail, '\u0000') = 0 THEN detail::json ->> 'status_code' END AS code
    FROM audit_entries
)
UPDATE audit_entries a SET security = CASE
    WHEN t.action = 'console.sign_in_failed' THEN 'sign_in_failed'
    WHEN t.status = 'denied' OR t.code IN ('401', '403') THEN 'denied'
    WHEN t.action IN ('console.sign_in', 'console.sign_out') THEN 'sign_in'
    WHEN substr(t.action, 1, 7) = 'policy.' THEN 'policy'
    WHEN COALESCE(t.status, '') <> 'allowed' AND (
        substr(t.action, 1, 6) IN ('admin.', 'quota.')
        OR substr(t.action, 1, 7) = 'outbox.'
        OR substr(t.action, 1, 8) IN ('consent.', 'console.', 'erasure.')
        OR substr(t.action, 1, 10) = 'retention.'
        OR substr(t.action, 1, 13) IN ('device_token.', 'replay.linked')
        OR substr(t.action, 1, 14) = 'audit.redacted') THEN 'admin'
END FROM told t WHERE t.position = a.position;

ALTER TABLE audit_entries ENABLE TRIGGER audit_entries_kept;

CREATE OR REPLACE FUNCTION audit_entries_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND (OLD.link IS NULL OR (NEW.redacted = 1
        AND NEW.position = OLD.position AND NEW.entry_id = OLD.entry_id
        AND NEW.at_unix_ms = OLD.at_unix_ms AND NEW.link = OLD.link AND NEW.action = OLD.action
        AND NEW.hash = OLD.hash AND NEW.digest = OLD.digest
        AND NEW.security IS NOT DISTINCT FROM OLD.security)) THEN
        RETURN NEW;
    END IF;
    IF TG_OP = 'DELETE' AND OLD.link <= (SELECT removed_links FROM audit_chain) THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'audit entries are neither changed nor removed';
END
$$;

-- Operators look at the newest first.
CREATE INDEX audit_entries_by_time ON audit_entries (at_unix_ms, position);
CREATE INDEX audit_entries_security ON audit_entries (at_unix_ms, position)
    WHERE security IS NOT NULL;

-- When a session's first event came: unlike the last one's, that moment stays.
ALTER TABLE media_sessions ADD COLUMN first_received_unix_ms BIGINT NOT NULL DEFAULT 0;

UPDATE media_sessions s SET first_received_unix_ms = COALESCE(
    (SELECT MIN(e.received_unix_ms) FROM media_events e WHERE e.session_id = s.session_id),
    s.last_received_unix_ms);

CREATE INDEX media_sessions_by_time ON media_sessions (first_received_unix_ms, session_id);
