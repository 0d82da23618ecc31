"""Audit entries as rows."""

import orjson

from penstock.engine.records import AuditEntry, AuditPage, StoredAudit
from penstock.storage.ledger.sql import Answers, Put, Puts, Statement, Steps, compare, encode


def put_audit(entry: AuditEntry) -> Steps[None]:
    """Store an entry behind all others."""
    row = (
        entry.entry_id,
        entry.at_unix_ms,
        entry.actor,
        entry.action,
        entry.subject,
        encode(entry.detail),
    )
    # Not by "ON CONFLICT": that would spend a position on each repetition.
    there = yield Statement(
        "SELECT entry_id, at_unix_ms, actor, action, subject, detail"
        " FROM audit_entries WHERE entry_id = ?",
        row[:1],
    )
    if there:
        compare(there[0], row, "another audit entry has this id")
    yield Statement(
        "INSERT INTO audit_entries (entry_id, at_unix_ms, actor, action, subject, detail)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        row,
    )


def audit_page(query: AuditPage) -> Steps[list[StoredAudit]]:
    """Give the newest entries before a position, newest first."""
    bound = "" if query.before is None else " WHERE position < ?"
    before = () if query.before is None else (query.before,)
    rows = yield Statement(
        "SELECT position, at_unix_ms, actor, action, subject, detail, entry_id FROM audit_entries"
        f"{bound} ORDER BY position DESC LIMIT ?",
        (*before, query.limit),
    )
    return [
        StoredAudit(
            position, AuditEntry(at_unix_ms, actor, action, subject, orjson.loads(detail), entry_id)
        )
        for position, at_unix_ms, actor, action, subject, detail, entry_id in rows
    ]


PUTS: Puts = {AuditEntry: Put(put_audit)}
ANSWERS: Answers = {AuditPage: audit_page}
