"""The outbox as rows."""

from collections.abc import Sequence
from typing import Any

from penstock.engine.delivery_records import (
    Delivery,
    DeliveryEntry,
    DeliveryOf,
    DueDeliveries,
    OutboxCounts,
    OutboxPage,
    OutboxRow,
    OutboxState,
    Progress,
    ProgressEntry,
    RetryEntry,
    StoredReplay,
)
from penstock.engine.ledger_port import Verdict
from penstock.storage.ledger.finals import COLUMNS, read_final
from penstock.storage.ledger.sql import (
    Answers,
    Put,
    Puts,
    RejectedError,
    RepeatedError,
    Row,
    Statement,
    Steps,
)

_PROGRESS = (
    "d.replay_due, d.replay_url, d.replay_bytes, d.replay_sha256, d.published_unix_ms,"
    " d.attempts, d.next_unix_ms, d.error, d.state"
)
_FINAL = ", ".join(f"f.{name}" for name in COLUMNS.split(", "))
_JOINED = (
    f"SELECT {_FINAL}, {_PROGRESS} FROM deliveries d"
    " JOIN session_finals f ON f.session_id = d.session_id AND f.revision = d.revision"
)
_FINAL_WIDTH = len(COLUMNS.split(", "))


def put_delivery(entry: DeliveryEntry) -> Steps[None]:
    """Order a delivery; what an older revision has left undone is not done any more."""
    done = yield Statement(
        "INSERT INTO deliveries (session_id, revision, org_id, created_unix_ms, replay_due,"
        " next_unix_ms, state) VALUES (?, ?, ?, ?, ?, ?, 'pending')"
        " ON CONFLICT (session_id, revision) DO NOTHING RETURNING 1",
        (
            entry.session_id,
            entry.revision,
            entry.org_id,
            entry.created_unix_ms,
            int(entry.replay_due),
            entry.created_unix_ms,
        ),
    )
    if not done:
        raise RepeatedError
    if entry.revision == 1:
        return
    if not entry.replay_due:
        yield Statement(
            "UPDATE deliveries SET (replay_due, replay_url, replay_bytes, replay_sha256) ="
            " (SELECT replay_due, replay_url, replay_bytes, replay_sha256 FROM deliveries o"
            " WHERE o.session_id = ? AND o.revision < ? ORDER BY o.revision DESC LIMIT 1)"
            " WHERE session_id = ? AND revision = ? AND EXISTS"
            " (SELECT 1 FROM deliveries o WHERE o.session_id = ? AND o.revision < ?)",
            (entry.session_id, entry.revision) * 3,
        )
    yield Statement(
        "UPDATE deliveries SET state = 'superseded'"
        " WHERE session_id = ? AND revision < ? AND state IN ('pending', 'dead')",
        (entry.session_id, entry.revision),
    )


def put_progress(entry: ProgressEntry) -> Steps[None]:
    """Note how far a delivery has come; what is known to be done stays so."""
    progress = entry.progress
    replay = progress.replay or (None, None, None)
    state = "dead" if progress.dead else "done" if progress.done else "pending"
    done = yield Statement(
        "UPDATE deliveries SET replay_url = COALESCE(?, replay_url),"
        " replay_bytes = COALESCE(?, replay_bytes), replay_sha256 = COALESCE(?, replay_sha256),"
        " published_unix_ms = COALESCE(published_unix_ms, ?), attempts = ?, next_unix_ms = ?,"
        " error = ?, state = CASE WHEN state IN ('done', 'superseded') THEN state ELSE ? END"
        " WHERE session_id = ? AND revision = ? RETURNING 1",
        (
            *replay,
            progress.published_unix_ms,
            progress.attempts,
            progress.next_unix_ms,
            progress.error,
            state,
            entry.session_id,
            entry.revision,
        ),
    )
    if not done:
        raise RejectedError(Verdict.CONFLICT, "there is no such delivery")


def put_retry(entry: RetryEntry) -> Steps[int]:
    """Bring dead deliveries back."""
    only = "" if entry.session_id is None else " AND session_id = ?"
    values = () if entry.session_id is None else (entry.session_id,)
    revived = yield Statement(
        "UPDATE deliveries SET state = 'pending', attempts = 0, next_unix_ms = ?"
        f" WHERE state = 'dead'{only} RETURNING 1",
        (entry.now_unix_ms, *values),
    )
    return len(revived)


def due_deliveries(query: DueDeliveries) -> Steps[list[Delivery]]:
    """Give the deliveries whose time has come."""
    rows = yield Statement(
        f"{_JOINED} WHERE d.state = 'pending' AND d.next_unix_ms <= ?"
        " ORDER BY d.next_unix_ms LIMIT ?",
        (query.now_unix_ms, query.limit),
    )
    return [_delivery(row) for row in rows]


def delivery_of(query: DeliveryOf) -> Steps[Delivery | None]:
    """Give the delivery of a session's newest final."""
    rows = yield Statement(
        f"{_JOINED} WHERE d.session_id = ? ORDER BY d.revision DESC LIMIT 1", (query.session_id,)
    )
    return _delivery(rows[0]) if rows else None


def outbox_counts(_query: OutboxCounts) -> Steps[OutboxState]:
    """Count what is not done."""
    ((pending, oldest),) = yield Statement(
        "SELECT COUNT(*), MIN(created_unix_ms) FROM deliveries WHERE state = 'pending'"
    )
    ((dead,),) = yield Statement("SELECT COUNT(*) FROM deliveries WHERE state = 'dead'")
    return OutboxState(pending, oldest, dead)


def outbox_page(query: OutboxPage) -> Steps[list[OutboxRow]]:
    """Give the deliveries that are not done, by session."""
    states = "('dead')" if query.only_dead else "('pending', 'dead')"
    rows = yield Statement(
        f"SELECT d.session_id, d.revision, d.org_id, d.created_unix_ms, {_PROGRESS}"
        f" FROM deliveries d WHERE d.state IN {states} AND d.session_id > ?"
        " ORDER BY d.session_id LIMIT ?",
        (query.after, query.limit),
    )
    return [
        OutboxRow(session_id, revision, org_id, created_unix_ms, _progress(progress))
        for session_id, revision, org_id, created_unix_ms, *progress in rows
    ]


def _delivery(row: Row) -> Delivery:
    return Delivery(read_final(row[:_FINAL_WIDTH]), _progress(row[_FINAL_WIDTH:]))


def _progress(row: Sequence[Any]) -> Progress:
    due, url, size, sha256, published, attempts, next_unix_ms, error, state = row
    replay: Any = None if url is None else StoredReplay(url, size, sha256)
    return Progress(
        bool(due),
        replay,
        published,
        attempts,
        next_unix_ms,
        error,
        dead=state == "dead",
        superseded=state == "superseded",
    )


PUTS: Puts = {
    DeliveryEntry: Put(put_delivery, may_half_write=True),
    ProgressEntry: Put(put_progress),
    RetryEntry: Put(put_retry),
}
ANSWERS: Answers = {
    DueDeliveries: due_deliveries,
    DeliveryOf: delivery_of,
    OutboxCounts: outbox_counts,
    OutboxPage: outbox_page,
}
