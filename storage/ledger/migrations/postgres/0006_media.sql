-- What players tell of themselves, first come: a session has one event of a kind and a time.
CREATE TABLE media_events (
    session_id TEXT COLLATE "C" NOT NULL,
    org_id TEXT COLLATE "C" NOT NULL CHECK (org_id NOT IN ('', '*')),
    kind TEXT COLLATE "C" NOT NULL,
    at_unix_ms BIGINT NOT NULL,
    received_unix_ms BIGINT NOT NULL,
    media_id TEXT COLLATE "C" NOT NULL,
    media_type TEXT NOT NULL,
    data TEXT NOT NULL,
    PRIMARY KEY (session_id, kind, at_unix_ms)
);

ALTER TABLE media_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE media_events FORCE ROW LEVEL SECURITY;
CREATE POLICY org_scope ON media_events USING (
    (SELECT current_setting('penstock.org_id', true)) IN (org_id, '*')
);

-- The sessions that have any. `standing` is what they count for in the cells below, made of
-- `folded_events` of their `events`; with `due_unix_ms` it is to be made anew.
CREATE TABLE media_sessions (
    session_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    org_id TEXT COLLATE "C" NOT NULL CHECK (org_id NOT IN ('', '*')),
    principal_id TEXT NOT NULL,
    last_received_unix_ms BIGINT NOT NULL,
    events BIGINT NOT NULL,
    folded_events BIGINT NOT NULL,
    ended BIGINT NOT NULL CHECK (ended IN (0, 1)),
    due_unix_ms BIGINT,
    country_code TEXT,
    device_type TEXT,
    browser_family TEXT,
    standing TEXT
);

ALTER TABLE media_sessions ENABLE ROW LEVEL SECURITY;
ALTER TABLE media_sessions FORCE ROW LEVEL SECURITY;
CREATE POLICY org_scope ON media_sessions USING (
    (SELECT current_setting('penstock.org_id', true)) IN (org_id, '*')
);

CREATE INDEX media_sessions_due ON media_sessions (due_unix_ms) WHERE due_unix_ms IS NOT NULL;

-- The sums of the sessions of an hour, by one dimension's value. media_id '' is all media.
-- All numbers are whole, and none is negative once a session's changes are made.
CREATE TABLE media_cells (
    dimension TEXT COLLATE "C" NOT NULL,
    media_id TEXT COLLATE "C" NOT NULL,
    hour_unix BIGINT NOT NULL,
    value TEXT COLLATE "C" NOT NULL,
    sessions BIGINT NOT NULL,
    active BIGINT NOT NULL,
    completed BIGINT NOT NULL,
    abandoned BIGINT NOT NULL,
    errored BIGINT NOT NULL,
    ttfb_ms_count BIGINT NOT NULL,
    ttfb_ms_sum BIGINT NOT NULL,
    load_time_ms_count BIGINT NOT NULL,
    load_time_ms_sum BIGINT NOT NULL,
    buffering_count_count BIGINT NOT NULL,
    buffering_count_sum BIGINT NOT NULL,
    buffering_duration_ms_count BIGINT NOT NULL,
    buffering_duration_ms_sum BIGINT NOT NULL,
    bitrate_bps_count BIGINT NOT NULL,
    bitrate_bps_sum BIGINT NOT NULL,
    watch_time_ms_count BIGINT NOT NULL,
    watch_time_ms_sum BIGINT NOT NULL,
    completion_basis_points_count BIGINT NOT NULL,
    completion_basis_points_sum BIGINT NOT NULL,
    PRIMARY KEY (dimension, media_id, hour_unix, value)
);

-- How many sessions of a status have a measure in a bucket: of each hour, and again of each day, so
-- that a month is not seven hundred sketches.
CREATE TABLE media_sketches (
    hours BIGINT NOT NULL CHECK (hours IN (1, 24)),
    start_unix BIGINT NOT NULL,
    status TEXT COLLATE "C" NOT NULL,
    measure TEXT COLLATE "C" NOT NULL,
    bucket BIGINT NOT NULL,
    sessions BIGINT NOT NULL,
    PRIMARY KEY (hours, start_unix, status, measure, bucket)
);
