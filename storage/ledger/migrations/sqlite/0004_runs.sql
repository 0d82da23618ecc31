-- What agents report of their runs. Moments are kept as they were written; the instants beside two of
-- them are microseconds since 1970 UTC, and are what is compared.

CREATE TABLE runs (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    event_id TEXT NOT NULL UNIQUE CHECK (length(event_id) BETWEEN 1 AND 255),
    run_id TEXT NOT NULL,
    agent_name TEXT NOT NULL CHECK (length(agent_name) <= 255),
    job_type TEXT NOT NULL CHECK (length(job_type) <= 255),
    start_time TEXT NOT NULL,
    start_unix_us INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    created_unix_us INTEGER NOT NULL,
    updated_at TEXT NOT NULL,
    schema_version INTEGER NOT NULL,
    end_time TEXT,
    agent_owner TEXT,
    status TEXT NOT NULL,
    product TEXT,
    product_family TEXT,
    platform TEXT,
    subdomain TEXT,
    website TEXT,
    website_section TEXT,
    item_name TEXT,
    items_discovered INTEGER NOT NULL CHECK (items_discovered >= 0),
    items_succeeded INTEGER NOT NULL CHECK (items_succeeded >= 0),
    items_failed INTEGER NOT NULL CHECK (items_failed >= 0),
    items_skipped INTEGER NOT NULL CHECK (items_skipped >= 0),
    duration_ms INTEGER NOT NULL CHECK (duration_ms >= 0),
    input_summary TEXT,
    output_summary TEXT,
    source_ref TEXT,
    target_ref TEXT,
    error_summary TEXT,
    error_details TEXT,
    git_repo TEXT,
    git_branch TEXT,
    git_commit_hash TEXT,
    git_run_tag TEXT,
    git_commit_source TEXT,
    git_commit_author TEXT,
    git_commit_timestamp TEXT,
    host TEXT,
    environment TEXT,
    trigger_type TEXT,
    metrics_json TEXT,
    context_json TEXT,
    api_posted INTEGER NOT NULL CHECK (api_posted IN (0, 1)),
    api_posted_at TEXT,
    api_retry_count INTEGER NOT NULL CHECK (api_retry_count >= 0),
    insight_id TEXT,
    parent_run_id TEXT
) STRICT;

-- One for each documented filter, in the order of the answer. Each also holds what the other filters
-- look at, so that a row is only fetched once it is known to be in the page.
CREATE INDEX runs_by_created
    ON runs (created_unix_us, id, start_unix_us, agent_name, job_type, status);
CREATE INDEX runs_by_agent
    ON runs (agent_name, created_unix_us, id, start_unix_us, job_type, status);
CREATE INDEX runs_by_job
    ON runs (job_type, created_unix_us, id, start_unix_us, agent_name, status);
CREATE INDEX runs_by_status
    ON runs (status, created_unix_us, id, start_unix_us, agent_name, job_type);
CREATE INDEX runs_by_start
    ON runs (start_unix_us, created_unix_us, id, agent_name, job_type, status);

-- How many runs each agent has: counting a million rows for each look would take too long.
CREATE TABLE run_agents (
    agent_name TEXT NOT NULL PRIMARY KEY,
    runs INTEGER NOT NULL CHECK (runs >= 1)
) STRICT;

CREATE TRIGGER runs_are_counted AFTER INSERT ON runs BEGIN
    INSERT INTO run_agents (agent_name, runs) VALUES (new.agent_name, 1)
        ON CONFLICT (agent_name) DO UPDATE SET runs = run_agents.runs + 1;
END;
