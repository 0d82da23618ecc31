-- Whose data is being removed. `principal_id` is there only until it is done.
CREATE TABLE erasures (
    erasure_id TEXT NOT NULL PRIMARY KEY,
    digest TEXT NOT NULL,
    principal_id TEXT,
    asked_unix_ms INTEGER NOT NULL,
    asked_by TEXT NOT NULL,
    done_unix_ms INTEGER,
    rows_removed INTEGER NOT NULL DEFAULT 0,
    sessions_removed INTEGER NOT NULL DEFAULT 0,
    blobs_removed INTEGER NOT NULL DEFAULT 0,
    files_removed INTEGER NOT NULL DEFAULT 0,
    audits_redacted INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE UNIQUE INDEX erasures_under_way ON erasures (principal_id) WHERE principal_id IS NOT NULL;
CREATE INDEX erasures_by_time ON erasures (asked_unix_ms);

-- Sessions that nothing may be stored of again. `erasure_id` is there only until what is not in the
-- ledger is gone as well.
CREATE TABLE erased_sessions (
    session_id TEXT NOT NULL PRIMARY KEY,
    org_id TEXT NOT NULL,
    erasure_id TEXT
) STRICT, WITHOUT ROWID;

CREATE INDEX erased_sessions_unswept ON erased_sessions (erasure_id) WHERE erasure_id IS NOT NULL;

-- How a person's rows are found, whichever organisation they are in.
CREATE INDEX session_finals_of_person ON session_finals (principal_id);
CREATE INDEX exercise_sessions_of_person ON exercise_sessions (principal_id);
CREATE INDEX patient_exercise_logs_of_person ON patient_exercise_logs (principal_id);
CREATE INDEX consents_of_person ON consents (principal_id);

-- How old finals are found: by this service's clock, not by what their clients said.
CREATE INDEX deliveries_by_age ON deliveries (created_unix_ms);
