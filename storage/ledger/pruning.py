"""Retention as steps: the oldest rows first, a few at a time."""

from itertools import takewhile

from penstock.engine.retention_records import (
    MOST_COUNTED,
    PrunableAudits,
    PrunableFinals,
    PruneAudits,
    PruneFinals,
)
from penstock.storage.ledger.sql import Answers, Put, Puts, Statement, Steps

# Nothing of the session is younger, on its way or dead: whoever looks after it needs its final.
_SETTLED = (
    "SELECT DISTINCT d.session_id FROM deliveries d"
    " WHERE d.created_unix_ms < ? AND d.state IN ('done', 'superseded') AND NOT EXISTS"
    " (SELECT 1 FROM deliveries o WHERE o.session_id = d.session_id"
    " AND (o.created_unix_ms >= ? OR o.state NOT IN ('done', 'superseded'))) LIMIT ?"
)
# Positions rise with time: no more than the first few need a look.
_OLDEST_AUDITS = (
    "SELECT position FROM (SELECT position, at_unix_ms FROM audit_entries"
    " ORDER BY position LIMIT ?) oldest WHERE at_unix_ms < ?"
)


def put_prune_finals(entry: PruneFinals) -> Steps[int]:
    """Remove the finals of some sessions, and their deliveries."""
    rows = yield Statement(_SETTLED, (entry.before_unix_ms, entry.before_unix_ms, entry.limit))
    sessions = tuple(session_id for (session_id,) in rows)
    if sessions:
        marks = ", ".join("?" * len(sessions))
        for table in ("deliveries", "session_finals"):
            yield Statement(f"DELETE FROM {table} WHERE session_id IN ({marks})", sessions)
    return len(sessions)


def put_prune_audits(entry: PruneAudits) -> Steps[int]:
    """Remove some of the oldest audit entries, from the chain's beginning on."""
    rows = yield Statement(
        "SELECT link, hash, at_unix_ms FROM audit_entries WHERE link IS NOT NULL"
        " ORDER BY link LIMIT ?",
        (entry.limit,),
    )
    old = list(takewhile(lambda row: row[2] < entry.before_unix_ms, rows))
    if not old:
        return 0
    link, found, _ = old[-1]
    # First the chain says so: nothing else may be taken out of it.
    yield Statement("UPDATE audit_chain SET removed_links = ?, removed_hash = ?", (link, found))
    gone = yield Statement("DELETE FROM audit_entries WHERE link <= ? RETURNING 1", (link,))
    return len(gone)


def prunable_finals(query: PrunableFinals) -> Steps[int]:
    """Count what could go."""
    ((count,),) = yield Statement(
        f"SELECT COUNT(*) FROM ({_SETTLED}) settled",
        (query.before_unix_ms, query.before_unix_ms, MOST_COUNTED),
    )
    return int(count)


def prunable_audits(query: PrunableAudits) -> Steps[int]:
    """Count what could go."""
    ((count,),) = yield Statement(
        f"SELECT COUNT(*) FROM ({_OLDEST_AUDITS}) old", (MOST_COUNTED, query.before_unix_ms)
    )
    return int(count)


PUTS: Puts = {
    PruneFinals: Put(put_prune_finals, may_half_write=True),
    PruneAudits: Put(put_prune_audits, may_half_write=True),
}
ANSWERS: Answers = {PrunableFinals: prunable_finals, PrunableAudits: prunable_audits}
