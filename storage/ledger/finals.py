"""Sessions' finals as rows."""

import orjson

from penstock.engine.ledger_port import Verdict
from penstock.engine.records import ErasedSession, FinalEntry, FinalOf
from penstock.engine.session_list import lost_basis_points
from penstock.storage.ledger.sql import (
    Answers,
    Put,
    Puts,
    RejectedError,
    Row,
    Statement,
    Steps,
    compare,
    encode,
)

COLUMNS = "session_id, revision, org_id, principal_id, status, ended_unix_ms, body"
# Taken out of the body, for the operators' list.
_LISTED = "started_unix_ms, frames, lost_basis_points, for_good"


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
        f"INSERT INTO session_finals ({COLUMNS}, {_LISTED})"
        " SELECT ?, CAST(? AS BIGINT), ?, ?, ?, CAST(? AS BIGINT), ?, CAST(? AS BIGINT),"
        " CAST(? AS BIGINT), CAST(? AS BIGINT), CAST(? AS BIGINT)"
        " WHERE NOT EXISTS (SELECT 1 FROM erased_sessions WHERE session_id = ?)"
        " ON CONFLICT (session_id, revision) DO NOTHING RETURNING 1",
        (*row, *_listed(entry), entry.session_id),
    )
    if not done:
        there = yield Statement(
            f"SELECT {COLUMNS} FROM session_finals WHERE session_id = ? AND revision = ?",
            row[:2],
        )
        if not there:
            raise RejectedError(Verdict.CONFLICT, "the session was erased")
        compare(there[0], row, f"the session has another final of revision {entry.revision}")


def _listed(entry: FinalEntry) -> tuple[int, int, int, int]:
    body = entry.body
    return (
        body.get("started_unix_ms", entry.ended_unix_ms),
        body.get("frames_received", 0),
        lost_basis_points(body.get("completeness")),
        0 if body.get("provisional") else 1,
    )


def final_of(query: FinalOf) -> Steps[FinalEntry | ErasedSession | None]:
    """Give the final of the highest revision, or what is left of an erased session."""
    rows = yield Statement(
        f"SELECT {COLUMNS} FROM session_finals WHERE session_id = ?"
        f" UNION ALL SELECT session_id, 0, org_id, '', '', 0, '{{}}' FROM erased_sessions"
        " WHERE session_id = ? ORDER BY revision DESC LIMIT 1",
        (query.session_id, query.session_id),
    )
    if not rows:
        return None
    # Revisions begin at 1.
    return read_final(rows[0]) if rows[0][1] else ErasedSession(query.session_id)


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
