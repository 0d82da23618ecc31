"""Sessions' finals as rows."""

import orjson

from penstock.engine.records import FinalEntry, FinalOf
from penstock.storage.ledger.sql import Answers, Put, Puts, Row, Statement, Steps, compare, encode

COLUMNS = "session_id, revision, org_id, principal_id, status, ended_unix_ms, body"


def put_final(entry: FinalEntry) -> Steps[None]:
    """Store one revision."""
    row = (
        entry.session_id,
        entry.revision,
        entry.org_id,
        entry.principal_id,
        entry.status,
        entry.ended_unix_ms,
        encode(entry.body),
    )
    done = yield Statement(
        f"INSERT INTO session_finals ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (session_id, revision) DO NOTHING RETURNING 1",
        row,
    )
    if not done:
        (there,) = yield Statement(
            f"SELECT {COLUMNS} FROM session_finals WHERE session_id = ? AND revision = ?",
            row[:2],
        )
        compare(there, row, f"the session has another final of revision {entry.revision}")


def final_of(query: FinalOf) -> Steps[FinalEntry | None]:
    """Give the final of the highest revision."""
    rows = yield Statement(
        f"SELECT {COLUMNS} FROM session_finals WHERE session_id = ? ORDER BY revision DESC LIMIT 1",
        (query.session_id,),
    )
    return read_final(rows[0]) if rows else None


def read_final(row: Row) -> FinalEntry:
    """Read the COLUMNS of a row."""
    session_id, revision, org_id, principal_id, status, ended_unix_ms, body = row
    try:
        plain = orjson.loads(body)
    except orjson.JSONDecodeError:
        plain = {}  # whoever asked finds that it is no final, and says so
    return FinalEntry(session_id, org_id, principal_id, revision, status, ended_unix_ms, plain)


PUTS: Puts = {FinalEntry: Put(put_final)}
ANSWERS: Answers = {FinalOf: final_of}
