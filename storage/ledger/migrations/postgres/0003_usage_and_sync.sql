-- Keys are in byte order ("C"), as they are in SQLite: pages go on where the one before ended.

-- Usage: a person's own counters of a UTC day, which begins at window_unix_ms.

CREATE TABLE usage_opt_ins (
    user_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    opted_in INTEGER NOT NULL CHECK (opted_in IN (0, 1)),
    changed_unix_ms BIGINT NOT NULL
);

CREATE TABLE usage_days (
    user_id TEXT COLLATE "C" NOT NULL,
    window_unix_ms BIGINT NOT NULL,
    memory_count BIGINT,
    device_count BIGINT,
    bytes_stored BIGINT,
    sync_ops BIGINT,
    reported_unix_ms BIGINT NOT NULL,
    PRIMARY KEY (user_id, window_unix_ms)
);

-- Sync. The digest is of the token: the token itself is nowhere.

CREATE TABLE sync_tokens (
    digest TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    token_id TEXT COLLATE "C" NOT NULL,
    user_id TEXT COLLATE "C" NOT NULL,
    device_id TEXT COLLATE "C" NOT NULL,
    minted_unix_ms BIGINT NOT NULL,
    minted_by TEXT NOT NULL,
    revoked_unix_ms BIGINT
);

CREATE INDEX sync_tokens_by_user ON sync_tokens (user_id, minted_unix_ms);

-- One row a user, which whoever changes the user's records writes first.
CREATE TABLE sync_users (
    user_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    changes BIGINT NOT NULL
);

-- What each device has sent: its last batch, and how many records of each kind.
CREATE TABLE sync_devices (
    user_id TEXT COLLATE "C" NOT NULL,
    device_id TEXT COLLATE "C" NOT NULL,
    last_batch_id TEXT,
    last_batch_unix_ms BIGINT,
    sources BIGINT NOT NULL,
    accounts BIGINT NOT NULL,
    source_account_assignments BIGINT NOT NULL,
    subscriptions BIGINT NOT NULL,
    events BIGINT NOT NULL,
    summaries BIGINT NOT NULL,
    PRIMARY KEY (user_id, device_id)
);

CREATE TABLE sync_batches (
    user_id TEXT COLLATE "C" NOT NULL,
    device_id TEXT COLLATE "C" NOT NULL,
    batch_id TEXT COLLATE "C" NOT NULL,
    digest TEXT COLLATE "C" NOT NULL,
    attempt_id TEXT NOT NULL,
    ack TEXT NOT NULL,
    received_unix_ms BIGINT NOT NULL,
    PRIMARY KEY (user_id, device_id, batch_id)
);

CREATE INDEX sync_batches_by_age ON sync_batches (user_id, device_id, received_unix_ms);

-- `share` is what the record has added to the rollups, to be taken away again with it.
CREATE TABLE sync_records (
    user_id TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    record_id TEXT COLLATE "C" NOT NULL,
    digest TEXT COLLATE "C" NOT NULL,
    body TEXT NOT NULL,
    share TEXT,
    stored_unix_ms BIGINT NOT NULL,
    PRIMARY KEY (user_id, kind, record_id)
);

-- Which devices have sent a record: it stays until the last of them is reset.
CREATE TABLE sync_holdings (
    user_id TEXT COLLATE "C" NOT NULL,
    device_id TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    record_id TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (user_id, device_id, kind, record_id)
);

CREATE TABLE sync_rollups (
    user_id TEXT COLLATE "C" NOT NULL,
    granularity TEXT COLLATE "C" NOT NULL,
    grouped_by TEXT COLLATE "C" NOT NULL,
    period TEXT COLLATE "C" NOT NULL,
    "key" TEXT COLLATE "C" NOT NULL,
    records BIGINT NOT NULL,
    requests BIGINT NOT NULL,
    input_tokens BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    cache_creation_tokens BIGINT NOT NULL,
    cache_read_tokens BIGINT NOT NULL,
    reasoning_tokens BIGINT NOT NULL,
    total_tokens BIGINT NOT NULL,
    cost_micro_usd BIGINT NOT NULL,
    PRIMARY KEY (user_id, granularity, grouped_by, period, "key")
);
