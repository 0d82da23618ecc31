-- Which audit entries are about security: set when one is stored (see engine/platform/security.py).
-- The audit's chain says nothing of it: it finds entries, and proves none.
ALTER TABLE audit_entries ADD COLUMN security TEXT;

DROP TRIGGER audit_entries_unchanged;

UPDATE audit_entries SET security = CASE
    WHEN action = 'console.sign_in_failed' THEN 'sign_in_failed'
    WHEN json_extract(detail, '$.status') = 'denied'
        OR json_extract(detail, '$.status_code') IN (401, 403) THEN 'denied'
    WHEN action IN ('console.sign_in', 'console.sign_out') THEN 'sign_in'
    WHEN substr(action, 1, 7) = 'policy.' THEN 'policy'
    WHEN COALESCE(json_extract(detail, '$.status'), '') <> 'allowed' AND (
        substr(action, 1, 6) IN ('admin.', 'quota.')
        OR substr(action, 1, 7) = 'outbox.'
        OR substr(action, 1, 8) IN ('consent.', 'console.', 'erasure.')
        OR substr(action, 1, 10) = 'retention.'
        OR substr(action, 1, 13) IN ('device_token.', 'replay.linked')
        OR substr(action, 1, 14) = 'audit.redacted') THEN 'admin'
END;

CREATE TRIGGER audit_entries_unchanged BEFORE UPDATE ON audit_entries
WHEN OLD.link IS NOT NULL AND NOT (NEW.redacted = 1 AND NEW.position = OLD.position
    AND NEW.entry_id = OLD.entry_id AND NEW.at_unix_ms = OLD.at_unix_ms AND NEW.link = OLD.link
    AND NEW.action = OLD.action AND NEW.hash = OLD.hash AND NEW.digest = OLD.digest
    AND NEW.security IS OLD.security) BEGIN
    SELECT RAISE(ABORT, 'audit entries are not changed');
END;

-- Operators look at the newest first.
CREATE INDEX audit_entries_by_time ON audit_entries (at_unix_ms, position);
CREATE INDEX audit_entries_security ON audit_entries (at_unix_ms, position)
    WHERE security IS NOT NULL;

-- When a session's first event came: unlike the last one's, that moment stays.
ALTER TABLE media_sessions ADD COLUMN first_received_unix_ms INTEGER NOT NULL DEFAULT 0;

UPDATE media_sessions SET first_received_unix_ms = COALESCE(
    (SELECT MIN(received_unix_ms) FROM media_events e WHERE e.session_id = media_sessions.session_id),
    last_received_unix_ms);

CREATE INDEX media_sessions_by_time ON media_sessions (first_received_unix_ms);
