-- What players tell of themselves, first come: a session has one event of a kind and a time.
CREATE TABLE media_events (
    session_id TEXT NOT NULL,
    org_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    at_unix_ms INTEGER NOT NULL,
    received_unix_ms INTEGER NOT NULL,
    media_id TEXT NOT NULL,
    media_type TEXT NOT NULL,
    data TEXT NOT NULL,
    PRIMARY KEY (session_id, kind, at_unix_ms)
) STRICT, WITHOUT ROWID;

-- The sessions that have any. `standing` is what they count for in the cells below, made of
-- `folded_events` of their `events`; with `due_unix_ms` it is to be made anew.
CREATE TABLE media_sessions (
    session_id TEXT NOT NULL PRIMARY KEY,
    org_id TEXT NOT NULL,
    principal_id TEXT NOT NULL,
    last_received_unix_ms INTEGER NOT NULL,
    events INTEGER NOT NULL,
    folded_events INTEGER NOT NULL,
    ended INTEGER NOT NULL CHECK (ended IN (0, 1)),
    due_unix_ms INTEGER,
    country_code TEXT,
    device_type TEXT,
    browser_family TEXT,
    standing TEXT
) STRICT, WITHOUT ROWID;

CREATE INDEX media_sessions_due ON media_sessions (due_unix_ms) WHERE due_unix_ms IS NOT NULL;

-- The sums of the sessions of an hour, by one dimension's value. media_id '' is all media.
-- All numbers are whole, and none is negative once a session's changes are made.
CREATE TABLE media_cells (
    dimension TEXT NOT NULL,
    media_id TEXT NOT NULL,
    hour_unix INTEGER NOT NULL,
    value TEXT NOT NULL,
    sessions INTEGER NOT NULL,
    active INTEGER NOT NULL,
    completed INTEGER NOT NULL,
    abandoned INTEGER NOT NULL,
    errored INTEGER NOT NULL,
    ttfb_ms_count INTEGER NOT NULL,
    ttfb_ms_sum INTEGER NOT NULL,
    load_time_ms_count INTEGER NOT NULL,
    load_time_ms_sum INTEGER NOT NULL,
    buffering_count_count INTEGER NOT NULL,
    buffering_count_sum INTEGER NOT NULL,
    buffering_duration_ms_count INTEGER NOT NULL,
    buffering_duration_ms_sum INTEGER NOT NULL,
    bitrate_bps_count INTEGER NOT NULL,
    bitrate_bps_sum INTEGER NOT NULL,
    watch_time_ms_count INTEGER NOT NULL,
    watch_time_ms_sum INTEGER NOT NULL,
    completion_basis_points_count INTEGER NOT NULL,
    completion_basis_points_sum INTEGER NOT NULL,
    PRIMARY KEY (dimension, media_id, hour_unix, value)
) STRICT, WITHOUT ROWID;

-- How many sessions of a status have a measure in a bucket: of each hour, and again of each day, so
-- that a month is not seven hundred sketches.
CREATE TABLE media_sketches (
    hours INTEGER NOT NULL CHECK (hours IN (1, 24)),
    start_unix INTEGER NOT NULL,
    status TEXT NOT NULL,
    measure TEXT NOT NULL,
    bucket INTEGER NOT NULL,
    sessions INTEGER NOT NULL,
    PRIMARY KEY (hours, start_unix, status, measure, bucket)
) STRICT, WITHOUT ROWID;
