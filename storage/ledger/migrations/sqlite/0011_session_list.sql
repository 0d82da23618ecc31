-- What the operators' list of sessions shows and is sorted by, taken out of the finals' bodies.
ALTER TABLE session_finals ADD COLUMN started_unix_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE session_finals ADD COLUMN frames INTEGER NOT NULL DEFAULT 0;
-- Hundredths of a percent of the frames there were.
ALTER TABLE session_finals ADD COLUMN lost_basis_points INTEGER NOT NULL DEFAULT 0;
-- 0 where the service itself closed it: the session may go on.
ALTER TABLE session_finals ADD COLUMN for_good INTEGER NOT NULL DEFAULT 1;

UPDATE session_finals SET
    started_unix_ms = COALESCE(json_extract(body, '$.started_unix_ms'), ended_unix_ms),
    frames = COALESCE(json_extract(body, '$.frames_received'), 0),
    lost_basis_points = CAST(ROUND(10000 * (1 - COALESCE(json_extract(body, '$.completeness'), 1))) AS INTEGER),
    for_good = 1 - COALESCE(json_extract(body, '$.provisional'), 0)
WHERE json_valid(body);

-- Without the id, by which rows of the same key are sorted: each end writes into all of these.
CREATE INDEX session_finals_by_start ON session_finals (started_unix_ms);
CREATE INDEX session_finals_of_org ON session_finals (org_id, started_unix_ms);
CREATE INDEX session_finals_by_frames ON session_finals (frames);
CREATE INDEX session_finals_by_loss ON session_finals (lost_basis_points)
    WHERE lost_basis_points > 0;
CREATE INDEX session_finals_provisional ON session_finals (session_id) WHERE for_good = 0;
