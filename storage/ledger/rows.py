"""The ledger's entries as rows of SQLite: pure SQL over a connection, no threads, no transactions.

`put` is called inside a savepoint unless `is_one_statement`. It raises `RepeatedError` or
`RejectedError`, and lets the database's own errors through.
"""

import sqlite3
from typing import Any

import orjson

from penstock.engine.ledger_port import (
    AuditEntry,
    Entry,
    FinalEntry,
    PolicyEntry,
    Single,
    StoredAudit,
    StoredBook,
    StoredChange,
    Together,
    Verdict,
)


class RepeatedError(Exception):
    """The entry is there already, exactly so."""


class RejectedError(Exception):
    """The entry cannot be stored, for good."""

    def __init__(self, verdict: Verdict, detail: str) -> None:
        super().__init__(detail)
        self.verdict = verdict
        self.detail = detail


def is_one_statement(entry: Entry) -> bool:
    """Say whether a single statement writes the whole entry."""
    return isinstance(entry, FinalEntry | AuditEntry)


def put(db: sqlite3.Connection, entry: Entry) -> None:
    """Store an entry's rows."""
    for single in entry.entries if isinstance(entry, Together) else (entry,):
        _put_single(db, single)


def _put_single(db: sqlite3.Connection, entry: Single) -> None:
    match entry:
        case FinalEntry():
            _put_final(db, entry)
        case PolicyEntry():
            _put_policy(db, entry)
        case AuditEntry():
            _put_audit(db, entry)


def _put_final(db: sqlite3.Connection, entry: FinalEntry) -> None:
    row = (*_final_row(entry), encode(entry.body))
    done = db.execute(
        "INSERT INTO session_finals"
        " (session_id, revision, org_id, principal_id, status, ended_unix_ms, body)"
        " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (session_id, revision) DO NOTHING",
        row,
    )
    if not done.rowcount:
        there = db.execute(
            "SELECT session_id, revision, org_id, principal_id, status, ended_unix_ms, body"
            " FROM session_finals WHERE session_id = ? AND revision = ?",
            row[:2],
        ).fetchone()
        _compare(there, row, f"the session has another final of revision {entry.revision}")


def _final_row(entry: FinalEntry) -> tuple[str, int, str, str, str, int]:
    return (
        entry.session_id,
        entry.revision,
        entry.org_id,
        entry.principal_id,
        entry.status,
        entry.ended_unix_ms,
    )


def _put_policy(db: sqlite3.Connection, entry: PolicyEntry) -> None:
    change = encode(entry.change)
    there = db.execute(
        "SELECT change FROM policy_changes WHERE revision = ?", (entry.revision,)
    ).fetchone()
    if there is not None:
        _compare(there, (change,), f"the policy book has another revision {entry.revision}")
    db.execute(
        "INSERT INTO policy_changes (revision, change) VALUES (?, ?)", (entry.revision, change)
    )
    done = db.execute(
        "INSERT INTO policy_book (only, revision, book) VALUES (1, ?, ?)"
        " ON CONFLICT (only) DO UPDATE SET revision = excluded.revision, book = excluded.book"
        " WHERE excluded.revision > policy_book.revision",
        (entry.revision, encode(entry.book)),
    )
    if not done.rowcount:
        raise RejectedError(
            Verdict.CONFLICT, f"the policy book is already past revision {entry.revision}"
        )


def _put_audit(db: sqlite3.Connection, entry: AuditEntry) -> None:
    row = (
        entry.entry_id,
        entry.at_unix_ms,
        entry.actor,
        entry.action,
        entry.subject,
        encode(entry.detail),
    )
    # Not by "ON CONFLICT": that would spend a position on each repetition.
    there = db.execute(
        "SELECT entry_id, at_unix_ms, actor, action, subject, detail"
        " FROM audit_entries WHERE entry_id = ?",
        row[:1],
    ).fetchone()
    if there is not None:
        _compare(there, row, "another audit entry has this id")
    db.execute(
        "INSERT INTO audit_entries (entry_id, at_unix_ms, actor, action, subject, detail)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        row,
    )


def _compare(there: tuple[Any, ...], row: tuple[Any, ...], otherwise: str) -> None:
    if there == row:
        raise RepeatedError
    raise RejectedError(Verdict.CONFLICT, otherwise)


def encode(value: dict[str, Any]) -> str:
    """Write JSON that is the same for equal values; RejectedError for what JSON cannot hold."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    except orjson.JSONEncodeError as error:
        raise RejectedError(Verdict.UNFIT, f"no JSON: {error}") from None


def final_of(db: sqlite3.Connection, session_id: str) -> FinalEntry | None:
    """Give a session's final of the highest revision."""
    row = db.execute(
        "SELECT session_id, org_id, principal_id, revision, status, ended_unix_ms, body"
        " FROM session_finals WHERE session_id = ? ORDER BY revision DESC LIMIT 1",
        (session_id,),
    ).fetchone()
    if row is None:
        return None
    found, org_id, principal_id, revision, status, ended_unix_ms, body = row
    try:
        plain = orjson.loads(body)
    except orjson.JSONDecodeError:
        plain = {}  # whoever asked finds that it is no final, and says so
    return FinalEntry(found, org_id, principal_id, revision, status, ended_unix_ms, plain)


def policy_book(db: sqlite3.Connection) -> StoredBook | None:
    """Give the newest policy book."""
    row = db.execute("SELECT revision, book FROM policy_book").fetchone()
    return None if row is None else StoredBook(row[0], orjson.loads(row[1]))


def policy_changes(db: sqlite3.Connection, limit: int) -> list[StoredChange]:
    """Give the newest changes, newest first."""
    rows = db.execute(
        "SELECT revision, change FROM policy_changes ORDER BY revision DESC LIMIT ?", (limit,)
    )
    return [StoredChange(revision, orjson.loads(change)) for revision, change in rows]


def audit(db: sqlite3.Connection, limit: int, before: int | None) -> list[StoredAudit]:
    """Give the newest audit entries before a position, newest first."""
    rows = db.execute(
        "SELECT position, at_unix_ms, actor, action, subject, detail, entry_id FROM audit_entries"
        " WHERE ? IS NULL OR position < ? ORDER BY position DESC LIMIT ?",
        (before, before, limit),
    )
    return [
        StoredAudit(
            position, AuditEntry(at_unix_ms, actor, action, subject, orjson.loads(detail), entry_id)
        )
        for position, at_unix_ms, actor, action, subject, detail, entry_id in rows
    ]
