-- The embedded Core. Every time is UTC in milliseconds since 1970.

-- A session from its start on; `revision` is 0 until its figures have come.
CREATE TABLE exercise_sessions (
    session_id TEXT NOT NULL PRIMARY KEY CHECK (length(session_id) BETWEEN 1 AND 64),
    org_id TEXT NOT NULL CHECK (org_id NOT IN ('', '*')),
    principal_id TEXT NOT NULL,
    exercise_id TEXT NOT NULL,
    created_unix_ms INTEGER NOT NULL,
    -- open, or how it ended
    status TEXT NOT NULL,
    provisional INTEGER NOT NULL CHECK (provisional IN (0, 1)),
    revision INTEGER NOT NULL CHECK (revision >= 0),
    started_unix_ms INTEGER,
    ended_unix_ms INTEGER,
    completeness REAL
) STRICT;

CREATE INDEX exercise_sessions_of_patient
    ON exercise_sessions (org_id, principal_id, created_unix_ms, session_id);
CREATE INDEX exercise_sessions_ended
    ON exercise_sessions (org_id, principal_id, exercise_id, ended_unix_ms);

CREATE TABLE pose_session_metrics (
    session_id TEXT NOT NULL PRIMARY KEY REFERENCES exercise_sessions (session_id),
    org_id TEXT NOT NULL CHECK (org_id NOT IN ('', '*')),
    principal_id TEXT NOT NULL,
    revision INTEGER NOT NULL CHECK (revision >= 1),
    rep_count INTEGER,
    duration_ms INTEGER,
    metrics TEXT NOT NULL
) STRICT;

CREATE TABLE pose_rep_metrics (
    session_id TEXT NOT NULL REFERENCES exercise_sessions (session_id),
    rep_number INTEGER NOT NULL CHECK (rep_number >= 1),
    org_id TEXT NOT NULL CHECK (org_id NOT IN ('', '*')),
    metrics TEXT NOT NULL,
    PRIMARY KEY (session_id, rep_number)
) STRICT;

CREATE TABLE media_session_metrics (
    session_id TEXT NOT NULL PRIMARY KEY REFERENCES exercise_sessions (session_id),
    org_id TEXT NOT NULL CHECK (org_id NOT IN ('', '*')),
    principal_id TEXT NOT NULL,
    revision INTEGER NOT NULL CHECK (revision >= 1),
    metrics TEXT NOT NULL
) STRICT;

-- What a patient did of an exercise on a UTC day: the sums of the sessions that ended on it.
CREATE TABLE patient_exercise_logs (
    org_id TEXT NOT NULL CHECK (org_id NOT IN ('', '*')),
    principal_id TEXT NOT NULL,
    exercise_id TEXT NOT NULL,
    day_unix_ms INTEGER NOT NULL,
    sessions INTEGER NOT NULL,
    completed_sessions INTEGER NOT NULL,
    rep_count INTEGER NOT NULL,
    exercised_ms INTEGER NOT NULL,
    last_ended_unix_ms INTEGER NOT NULL,
    PRIMARY KEY (org_id, principal_id, exercise_id, day_unix_ms)
) STRICT;

CREATE INDEX patient_exercise_logs_by_day ON patient_exercise_logs (day_unix_ms);

-- `purposes` is a JSON list: an empty one is a withdrawal, which is not the same as no record.
CREATE TABLE consents (
    org_id TEXT NOT NULL CHECK (org_id NOT IN ('', '*')),
    principal_id TEXT NOT NULL,
    purposes TEXT NOT NULL,
    updated_unix_ms INTEGER NOT NULL,
    updated_by TEXT NOT NULL,
    PRIMARY KEY (org_id, principal_id)
) STRICT;

CREATE TABLE org_quotas (
    org_id TEXT NOT NULL PRIMARY KEY CHECK (org_id NOT IN ('', '*')),
    batches_per_second REAL,
    updated_unix_ms INTEGER NOT NULL,
    updated_by TEXT NOT NULL
) STRICT;
