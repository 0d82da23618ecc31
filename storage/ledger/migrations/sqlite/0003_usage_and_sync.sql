-- Usage: a person's own counters of a UTC day, which begins at window_unix_ms.

CREATE TABLE usage_opt_ins (
    user_id TEXT NOT NULL PRIMARY KEY,
    opted_in INTEGER NOT NULL CHECK (opted_in IN (0, 1)),
    changed_unix_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE usage_days (
    user_id TEXT NOT NULL,
    window_unix_ms INTEGER NOT NULL,
    memory_count INTEGER,
    device_count INTEGER,
    bytes_stored INTEGER,
    sync_ops INTEGER,
    reported_unix_ms INTEGER NOT NULL,
    PRIMARY KEY (user_id, window_unix_ms)
) STRICT, WITHOUT ROWID;

-- Sync. The digest is of the token: the token itself is nowhere.

CREATE TABLE sync_tokens (
    digest TEXT NOT NULL PRIMARY KEY,
    token_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    minted_unix_ms INTEGER NOT NULL,
    minted_by TEXT NOT NULL,
    revoked_unix_ms INTEGER
) STRICT;

CREATE INDEX sync_tokens_by_user ON sync_tokens (user_id, minted_unix_ms);

-- One row a user, which whoever changes the user's records writes first.
CREATE TABLE sync_users (
    user_id TEXT NOT NULL PRIMARY KEY,
    changes INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What each device has sent: its last batch, and how many records of each kind.
CREATE TABLE sync_devices (
    user_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    last_batch_id TEXT,
    last_batch_unix_ms INTEGER,
    sources INTEGER NOT NULL,
    accounts INTEGER NOT NULL,
    source_account_assignments INTEGER NOT NULL,
    subscriptions INTEGER NOT NULL,
    events INTEGER NOT NULL,
    summaries INTEGER NOT NULL,
    PRIMARY KEY (user_id, device_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE sync_batches (
    user_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    batch_id TEXT NOT NULL,
    digest TEXT NOT NULL,
    attempt_id TEXT NOT NULL,
    ack TEXT NOT NULL,
    received_unix_ms INTEGER NOT NULL,
    PRIMARY KEY (user_id, device_id, batch_id)
) STRICT;

CREATE INDEX sync_batches_by_age ON sync_batches (user_id, device_id, received_unix_ms);

-- `share` is what the record has added to the rollups, to be taken away again with it.
CREATE TABLE sync_records (
    user_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    record_id TEXT NOT NULL,
    digest TEXT NOT NULL,
    body TEXT NOT NULL,
    share TEXT,
    stored_unix_ms INTEGER NOT NULL,
    PRIMARY KEY (user_id, kind, record_id)
) STRICT;

-- Which devices have sent a record: it stays until the last of them is reset.
CREATE TABLE sync_holdings (
    user_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    record_id TEXT NOT NULL,
    PRIMARY KEY (user_id, device_id, kind, record_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE sync_rollups (
    user_id TEXT NOT NULL,
    granularity TEXT NOT NULL,
    grouped_by TEXT NOT NULL,
    period TEXT NOT NULL,
    "key" TEXT NOT NULL,
    records INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    input_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    cache_creation_tokens INTEGER NOT NULL,
    cache_read_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL,
    total_tokens INTEGER NOT NULL,
    cost_micro_usd INTEGER NOT NULL,
    PRIMARY KEY (user_id, granularity, grouped_by, period, "key")
) STRICT, WITHOUT ROWID;
