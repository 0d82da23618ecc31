"""The removal of what is older than it may become, a few rows at a time."""

from collections.abc import Callable

from penstock.engine.platform.records import ExpiryEntry, Kept
from penstock.storage.ledger.sql import Answers, Put, Puts, Statement, Steps


def put_expiry(entry: ExpiryEntry) -> Steps[int]:
    """Remove some of what is too old; the value is how many rows of its class."""
    return _REMOVALS[entry.kept](entry)


def _remove_analytics(entry: ExpiryEntry) -> Steps[int]:
    return (yield from _remove_oldest("analytics_events", "event_id", entry))


def _remove_errors(entry: ExpiryEntry) -> Steps[int]:
    removed = yield from _remove_oldest("error_reports", "report_id", entry)
    gone = yield Statement(
        "DELETE FROM error_groups WHERE (org_id, fingerprint) IN (SELECT org_id, fingerprint"
        " FROM error_groups WHERE last_seen_unix_ms < ? ORDER BY last_seen_unix_ms LIMIT ?)"
        " RETURNING 1",
        (entry.before_unix_ms, entry.limit),
    )
    return removed + len(gone)


def _remove_media(entry: ExpiryEntry) -> Steps[int]:
    # By sessions: one that still goes on keeps all its events. The statistics are made of them
    # already, and stay.
    rows = yield Statement(
        "SELECT session_id, events FROM media_sessions"
        " WHERE due_unix_ms IS NULL AND last_received_unix_ms < ?"
        " ORDER BY last_received_unix_ms LIMIT ?",
        (entry.before_unix_ms, entry.limit),
    )
    removed = 0
    for session_id, events in rows:
        if removed and removed + events > entry.limit:
            break
        removed += max(1, events)
        yield Statement("DELETE FROM media_events WHERE session_id = ?", (session_id,))
        yield Statement("DELETE FROM media_sessions WHERE session_id = ?", (session_id,))
    return removed


def _remove_oldest(table: str, key: str, entry: ExpiryEntry) -> Steps[int]:
    gone = yield Statement(
        f"DELETE FROM {table} WHERE {key} IN (SELECT {key} FROM {table}"
        " WHERE received_unix_ms < ? ORDER BY received_unix_ms LIMIT ?) RETURNING 1",
        (entry.before_unix_ms, entry.limit),
    )
    return len(gone)


_REMOVALS: dict[Kept, Callable[[ExpiryEntry], Steps[int]]] = {
    Kept.ANALYTICS: _remove_analytics,
    Kept.ERRORS: _remove_errors,
    Kept.MEDIA: _remove_media,
}
PUTS: Puts = {ExpiryEntry: Put(put_expiry, may_half_write=True)}
ANSWERS: Answers = {}
