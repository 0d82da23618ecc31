-- What the operators' list of sessions shows and is sorted by, taken out of the finals' bodies.
ALTER TABLE session_finals
    ADD COLUMN started_unix_ms BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN frames BIGINT NOT NULL DEFAULT 0,
    -- Hundredths of a percent of the frames there were.
    ADD COLUMN lost_basis_points BIGINT NOT NULL DEFAULT 0,
    -- 0 where the service itself closed it: the session may go on.
    ADD COLUMN for_good BIGINT NOT NULL DEFAULT 1;

UPDATE session_finals SET
    started_unix_ms = COALESCE((body::jsonb ->> 'started_unix_ms')::bigint, ended_unix_ms),
    frames = COALESCE((body::jsonb ->> 'frames_received')::bigint, 0),
    lost_basis_points = ROUND(10000 * (1 - COALESCE((body::jsonb ->> 'completeness')::numeric, 1))),
    for_good = CASE WHEN body::jsonb ->> 'provisional' = 'true' THEN 0 ELSE 1 END;

-- Without the id, by which rows of the same key are sorted: each end writes into all of these.
CREATE INDEX session_finals_by_start ON session_finals (started_unix_ms);
CREATE INDEX session_finals_of_org ON session_finals (org_id, started_unix_ms);
CREATE INDEX session_finals_by_frames ON session_finals (frames);
CREATE INDEX session_finals_by_loss ON session_finals (lost_basis_points)
    WHERE lost_basis_points > 0;
CREATE INDEX session_finals_provisional ON session_finals (session_id) WHERE for_good = 0;
