"""The policy book and its changes as rows."""

import orjson

from penstock.engine.ledger_port import Verdict
from penstock.engine.records import (
    NewestBook,
    NewestChanges,
    PolicyEntry,
    StoredBook,
    StoredChange,
)
from penstock.storage.ledger.sql import (
    Answers,
    Put,
    Puts,
    RejectedError,
    Statement,
    Steps,
    compare,
    encode,
)


def put_policy(entry: PolicyEntry) -> Steps[None]:
    """Store a change and the book that it made."""
    change = encode(entry.change)
    there = yield Statement(
        "SELECT change FROM policy_changes WHERE revision = ?", (entry.revision,)
    )
    if there:
        compare(there[0], (change,), f"the policy book has another revision {entry.revision}")
    yield Statement(
        "INSERT INTO policy_changes (revision, change) VALUES (?, ?)", (entry.revision, change)
    )
    done = yield Statement(
        'INSERT INTO policy_book ("only", revision, book) VALUES (1, ?, ?)'
        ' ON CONFLICT ("only") DO UPDATE SET revision = excluded.revision, book = excluded.book'
        " WHERE excluded.revision > policy_book.revision RETURNING 1",
        (entry.revision, encode(entry.book)),
    )
    if not done:
        raise RejectedError(
            Verdict.CONFLICT, f"the policy book is already past revision {entry.revision}"
        )


def newest_book(_query: NewestBook) -> Steps[StoredBook | None]:
    """Give the newest policy book."""
    rows = yield Statement("SELECT revision, book FROM policy_book")
    return StoredBook(rows[0][0], orjson.loads(rows[0][1])) if rows else None


def newest_changes(query: NewestChanges) -> Steps[list[StoredChange]]:
    """Give the newest changes, newest first."""
    rows = yield Statement(
        "SELECT revision, change FROM policy_changes ORDER BY revision DESC LIMIT ?",
        (query.limit,),
    )
    return [StoredChange(revision, orjson.loads(change)) for revision, change in rows]


PUTS: Puts = {PolicyEntry: Put(put_policy, may_half_write=True)}
ANSWERS: Answers = {NewestBook: newest_book, NewestChanges: newest_changes}
