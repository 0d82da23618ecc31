-- The embedded Core. Every time is UTC in milliseconds since 1970.

-- A session from its start on; `revision` is 0 until its figures have come.
CREATE TABLE exercise_sessions (
    session_id TEXT COLLATE "C" NOT NULL PRIMARY KEY CHECK (length(session_id) BETWEEN 1 AND 64),
    org_id TEXT COLLATE "C" NOT NULL CHECK (org_id NOT IN ('', '*')),
    principal_id TEXT COLLATE "C" NOT NULL,
    exercise_id TEXT COLLATE "C" NOT NULL,
    created_unix_ms BIGINT NOT NULL,
    -- open, or how it ended
    status TEXT NOT NULL,
    provisional BIGINT NOT NULL CHECK (provisional IN (0, 1)),
    revision BIGINT NOT NULL CHECK (revision >= 0),
    started_unix_ms BIGINT,
    ended_unix_ms BIGINT,
    completeness DOUBLE PRECISION
);

CREATE INDEX exercise_sessions_of_patient
    ON exercise_sessions (org_id, principal_id, created_unix_ms, session_id);
CREATE INDEX exercise_sessions_ended
    ON exercise_sessions (org_id, principal_id, exercise_id, ended_unix_ms);

CREATE TABLE pose_session_metrics (
    session_id TEXT COLLATE "C" NOT NULL PRIMARY KEY REFERENCES exercise_sessions (session_id),
    org_id TEXT COLLATE "C" NOT NULL CHECK (org_id NOT IN ('', '*')),
    principal_id TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL CHECK (revision >= 1),
    rep_count BIGINT,
    duration_ms BIGINT,
    metrics TEXT NOT NULL
);

CREATE TABLE pose_rep_metrics (
    session_id TEXT COLLATE "C" NOT NULL REFERENCES exercise_sessions (session_id),
    rep_number BIGINT NOT NULL CHECK (rep_number >= 1),
    org_id TEXT COLLATE "C" NOT NULL CHECK (org_id NOT IN ('', '*')),
    metrics TEXT NOT NULL,
    PRIMARY KEY (session_id, rep_number)
);

CREATE TABLE media_session_metrics (
    session_id TEXT COLLATE "C" NOT NULL PRIMARY KEY REFERENCES exercise_sessions (session_id),
    org_id TEXT COLLATE "C" NOT NULL CHECK (org_id NOT IN ('', '*')),
    principal_id TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL CHECK (revision >= 1),
    metrics TEXT NOT NULL
);

-- What a patient did of an exercise on a UTC day: the sums of the sessions that ended on it.
CREATE TABLE patient_exercise_logs (
    org_id TEXT COLLATE "C" NOT NULL CHECK (org_id NOT IN ('', '*')),
    principal_id TEXT COLLATE "C" NOT NULL,
    exercise_id TEXT COLLATE "C" NOT NULL,
    day_unix_ms BIGINT NOT NULL,
    sessions BIGINT NOT NULL,
    completed_sessions BIGINT NOT NULL,
    rep_count BIGINT NOT NULL,
    exercised_ms BIGINT NOT NULL,
    last_ended_unix_ms BIGINT NOT NULL,
    PRIMARY KEY (org_id, principal_id, exercise_id, day_unix_ms)
);

CREATE INDEX patient_exercise_logs_by_day ON patient_exercise_logs (day_unix_ms);

-- `purposes` is a JSON list: an empty one is a withdrawal, which is not the same as no record.
CREATE TABLE consents (
    org_id TEXT COLLATE "C" NOT NULL CHECK (org_id NOT IN ('', '*')),
    principal_id TEXT COLLATE "C" NOT NULL,
    purposes TEXT NOT NULL,
    updated_unix_ms BIGINT NOT NULL,
    updated_by TEXT NOT NULL,
    PRIMARY KEY (org_id, principal_id)
);

CREATE TABLE org_quotas (
    org_id TEXT COLLATE "C" NOT NULL PRIMARY KEY CHECK (org_id NOT IN ('', '*')),
    batches_per_second DOUBLE PRECISION,
    updated_unix_ms BIGINT NOT NULL,
    updated_by TEXT NOT NULL
);

-- As in 0001: each organisation by itself, also for the tables' owner.

ALTER TABLE exercise_sessions ENABLE ROW LEVEL SECURITY;
ALTER TABLE exercise_sessions FORCE ROW LEVEL SECURITY;
CREATE POLICY org_scope ON exercise_sessions USING (
    (SELECT current_setting('penstock.org_id', true)) IN (org_id, '*')
);

ALTER TABLE pose_session_metrics ENABLE ROW LEVEL SECURITY;
ALTER TABLE pose_session_metrics FORCE ROW LEVEL SECURITY;
CREATE POLICY org_scope ON pose_session_metrics USING (
    (SELECT current_setting('penstock.org_id', true)) IN (org_id, '*')
);

ALTER TABLE pose_rep_metrics ENABLE ROW LEVEL SECURITY;
ALTER TABLE pose_rep_metrics FORCE ROW LEVEL SECURITY;
CREATE POLICY org_scope ON pose_rep_metrics USING (
    (SELECT current_setting('penstock.org_id', true)) IN (org_id, '*')
);

ALTER TABLE media_session_metrics ENABLE ROW LEVEL SECURITY;
ALTER TABLE media_session_metrics FORCE ROW LEVEL SECURITY;
CREATE POLICY org_scope ON media_session_metrics USING (
    (SELECT current_setting('penstock.org_id', true)) IN (org_id, '*')
);

ALTER TABLE patient_exercise_logs ENABLE ROW LEVEL SECURITY;
ALTER TABLE patient_exercise_logs FORCE ROW LEVEL SECURITY;
CREATE POLICY org_scope ON patient_exercise_logs USING (
    (SELECT current_setting('penstock.org_id', true)) IN (org_id, '*')
);

ALTER TABLE consents ENABLE ROW LEVEL SECURITY;
ALTER TABLE consents FORCE ROW LEVEL SECURITY;
CREATE POLICY org_scope ON consents USING (
    (SELECT current_setting('penstock.org_id', true)) IN (org_id, '*')
);

ALTER TABLE org_quotas ENABLE ROW LEVEL SECURITY;
ALTER TABLE org_quotas FORCE ROW LEVEL SECURITY;
CREATE POLICY org_scope ON org_quotas USING (
    (SELECT current_setting('penstock.org_id', true)) IN (org_id, '*')
);
