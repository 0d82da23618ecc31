"""Erasures as steps: what of a person is where, and how it is removed a little at a time.

Every table that has a person or a session in it is named here, or in `KEPT` with its reason; a test
compares that with the schema. A transaction removes one session, or some hundred rows: what waits
behind it waits for milliseconds.
"""

from collections.abc import Mapping
from typing import NamedTuple

from penstock.engine.erasure_records import (
    AuditsNaming,
    AuditsThatName,
    BeginErasure,
    ConsentOrgsOf,
    EraseRows,
    EraseSession,
    Erasure,
    ErasureOf,
    FinishErasure,
    Holdings,
    HoldingsOf,
    NewestErasures,
    OpenErasures,
    OwnedSession,
    RedactAudits,
    SessionsOf,
    SweptSession,
    UnsweptSessions,
    digest_of,
    stand_in,
)
from penstock.engine.ledger_port import Verdict
from penstock.engine.platform.audit_chain import digest_of as content_digest
from penstock.storage.ledger.audits import content_in, put_redacted
from penstock.storage.ledger.platform_erasures import spelling_of
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


class Shelf(NamedTuple):
    """Rows that are a person's own: the column that names the person, and the primary key."""

    table: str
    person: str
    key: tuple[str, ...]


# What goes with a session, in the order that the tables' references allow.
OF_SESSIONS = (
    "deliveries",
    "session_finals",
    "pose_rep_metrics",
    "pose_session_metrics",
    "media_session_metrics",
    "exercise_sessions",
    "media_events",
    "media_sessions",
)
# Where it is written whose a session is.
OWNED = ("session_finals", "exercise_sessions", "media_sessions")
OF_PEOPLE = (
    Shelf("consents", "principal_id", ("org_id", "principal_id")),
    Shelf(
        "patient_exercise_logs",
        "principal_id",
        ("org_id", "principal_id", "exercise_id", "day_unix_ms"),
    ),
    # Without its tokens, a device sends nothing more.
    Shelf("sync_tokens", "user_id", ("digest",)),
    Shelf("sync_batches", "user_id", ("user_id", "device_id", "batch_id")),
    Shelf("sync_records", "user_id", ("user_id", "kind", "record_id")),
    Shelf("sync_holdings", "user_id", ("user_id", "device_id", "kind", "record_id")),
    Shelf("sync_rollups", "user_id", ("user_id", "granularity", "grouped_by", "period", '"key"')),
    Shelf("sync_devices", "user_id", ("user_id", "device_id")),
    Shelf("sync_users", "user_id", ("user_id",)),
    Shelf("usage_days", "user_id", ("user_id", "window_unix_ms")),
    Shelf("usage_opt_ins", "user_id", ("user_id",)),
)
KEPT: Mapping[str, str] = {
    "erasures": "the order itself; it forgets the person when it is done",
    "audit_entries": "what was done, and when; a stand-in takes the person's place",
    "error_groups": "counts of an error, whoever met it; a group without reports goes with them",
    "erased_sessions": "the session's id alone, so that nothing of it is stored again",
}

_ERASURE = (
    "erasure_id, digest, principal_id, asked_unix_ms, asked_by, done_unix_ms, rows_removed,"
    " sessions_removed, blobs_removed, files_removed, audits_redacted, texts_redacted"
)
_OWNED_BY = " UNION ".join(
    f"SELECT session_id, org_id FROM {table} WHERE principal_id = ?" for table in OWNED
)


def put_begin(entry: BeginErasure) -> Steps[str]:
    """Order an erasure, and take the consents away."""
    there = yield Statement(
        "SELECT erasure_id FROM erasures WHERE erasure_id = ? OR principal_id = ?",
        (entry.erasure_id, entry.principal_id),
    )
    if there:
        raise RepeatedError(there[0][0])
    yield Statement(
        "INSERT INTO erasures (erasure_id, digest, principal_id, asked_unix_ms, asked_by)"
        " VALUES (?, ?, ?, ?, ?)",
        (
            entry.erasure_id,
            digest_of(entry.principal_id),
            entry.principal_id,
            entry.asked_unix_ms,
            entry.asked_by,
        ),
    )
    # Who has not consented is let in nowhere: nothing new begins while the rest is removed.
    gone = yield Statement(
        "DELETE FROM consents WHERE principal_id = ? RETURNING 1", (entry.principal_id,)
    )
    yield from _count(entry.erasure_id, rows=len(gone))
    return entry.erasure_id


def put_session(entry: EraseSession) -> Steps[int]:
    """Remove a session's rows, and close its place."""
    marked = yield Statement(
        "INSERT INTO erased_sessions (session_id, org_id, erasure_id) VALUES (?, ?, ?)"
        " ON CONFLICT (session_id) DO NOTHING RETURNING 1",
        (entry.session_id, entry.org_id, entry.erasure_id),
    )
    rows = 0
    for table in OF_SESSIONS:
        gone = yield Statement(
            f"DELETE FROM {table} WHERE session_id = ? RETURNING 1", (entry.session_id,)
        )
        rows += len(gone)
    yield from _count(entry.erasure_id, rows=rows, sessions=len(marked))
    return rows


def put_swept(entry: SweptSession) -> Steps[None]:
    """Note that nothing of a session is left elsewhere."""
    noted = yield Statement(
        "UPDATE erased_sessions SET erasure_id = NULL"
        " WHERE session_id = ? AND erasure_id = ? RETURNING 1",
        (entry.session_id, entry.erasure_id),
    )
    if not noted:
        raise RepeatedError
    yield from _count(entry.erasure_id, blobs=entry.blobs, files=entry.files)


def put_rows(entry: EraseRows) -> Steps[int]:
    """Remove some rows of a person, from whichever table still has any."""
    for table, person, key in OF_PEOPLE:
        names = ", ".join(key)
        gone = yield Statement(
            f"DELETE FROM {table} WHERE ({names}) IN"
            f" (SELECT {names} FROM {table} WHERE {person} = ? LIMIT ?) RETURNING 1",
            (entry.principal_id, entry.limit),
        )
        if gone:
            yield from _count(entry.erasure_id, rows=len(gone))
            return len(gone)
    return 0


def put_redaction(entry: RedactAudits) -> Steps[int]:
    """Write the stand-in wherever the person's id is, or one of their names, and record it."""
    redacted = 0
    blinded: list[tuple[int, str]] = []
    spelling, instead = spelling_of(entry.principal_id), stand_in(entry.principal_id)
    for position in entry.positions:
        rows = yield Statement(
            "SELECT link, entry_id, at_unix_ms, action, actor, subject, detail FROM audit_entries"
            " WHERE position = ?",
            (position,),
        )
        for link, entry_id, at_unix_ms, action, *row in rows:
            actor, *texts = (spelling.sub(instead, text) for text in row)
            if actor in entry.names:
                actor = instead
            if (actor, *texts) == tuple(row):
                continue
            yield Statement(
                "UPDATE audit_entries SET actor = ?, subject = ?, detail = ?, redacted = ?"
                " WHERE position = ?",
                (actor, *texts, int(link is not None), position),
            )
            redacted += 1
            if link is None:  # from before the chain: it will be linked as it is now
                continue
            subject, detail = texts
            left = content_in((entry_id, at_unix_ms, actor, action, subject, detail))
            blinded.append((link, content_digest(left)))
    if redacted:
        if blinded:
            yield from put_redacted(entry.erasure_id, entry.at_unix_ms, blinded)
        yield from _count(entry.erasure_id, audits=redacted)
    return redacted


def put_finish(entry: FinishErasure) -> Steps[None]:
    """Forget whom it was about; not while something is left."""
    left = yield Statement(
        "SELECT 1 FROM erased_sessions WHERE erasure_id = ? LIMIT 1", (entry.erasure_id,)
    )
    if left:
        raise RejectedError(Verdict.CONFLICT, "sessions of it are not swept")
    done = yield Statement(
        "UPDATE erasures SET principal_id = NULL, done_unix_ms = ?"
        " WHERE erasure_id = ? AND done_unix_ms IS NULL RETURNING 1",
        (entry.done_unix_ms, entry.erasure_id),
    )
    if not done:
        raise RepeatedError


def _count(erasure_id: str, **more: int) -> Steps[None]:
    columns = {"audits": "audits_redacted"}
    sets = ", ".join(
        f"{(column := columns.get(name, f'{name}_removed'))} = {column} + {int(number)}"
        for name, number in more.items()
    )
    yield Statement(f"UPDATE erasures SET {sets} WHERE erasure_id = ?", (erasure_id,))


def open_erasures(_query: OpenErasures) -> Steps[list[Erasure]]:
    """Give the erasures that are not done."""
    rows = yield Statement(
        f"SELECT {_ERASURE} FROM erasures WHERE principal_id IS NOT NULL ORDER BY asked_unix_ms"
    )
    return [Erasure(*row) for row in rows]


def erasure_of(query: ErasureOf) -> Steps[Erasure | None]:
    """Give one erasure."""
    rows = yield Statement(
        f"SELECT {_ERASURE} FROM erasures WHERE erasure_id = ?", (query.erasure_id,)
    )
    return Erasure(*rows[0]) if rows else None


def newest_erasures(query: NewestErasures) -> Steps[list[Erasure]]:
    """Give the newest erasures."""
    rows = yield Statement(
        f"SELECT {_ERASURE} FROM erasures ORDER BY asked_unix_ms DESC, erasure_id LIMIT ?",
        (query.limit,),
    )
    return [Erasure(*row) for row in rows]


def sessions_of(query: SessionsOf) -> Steps[list[OwnedSession]]:
    """Give sessions of a person."""
    rows = yield Statement(
        f"{_OWNED_BY} LIMIT ?", (*(query.principal_id,) * len(OWNED), query.limit)
    )
    return _owned(rows)


def consent_orgs_of(query: ConsentOrgsOf) -> Steps[list[str]]:
    """Give the organisations where a person is known."""
    rows = yield Statement(
        f"SELECT org_id FROM ({_OWNED_BY}) s"
        " UNION SELECT org_id FROM consents WHERE principal_id = ?",
        (query.principal_id,) * (len(OWNED) + 1),
    )
    return [org_id for (org_id,) in rows]


def unswept_sessions(query: UnsweptSessions) -> Steps[list[OwnedSession]]:
    """Give erased sessions that may have something elsewhere."""
    rows = yield Statement(
        "SELECT session_id, org_id FROM erased_sessions WHERE erasure_id = ? LIMIT ?",
        (query.erasure_id, query.limit),
    )
    return _owned(rows)


def audits_that_name(query: AuditsThatName) -> Steps[AuditsNaming]:
    """Look through some audit entries."""
    rows = yield Statement(
        "SELECT position, actor, subject, detail FROM audit_entries WHERE position > ?"
        " ORDER BY position LIMIT ?",
        (query.after, query.limit),
    )
    spelling = spelling_of(query.principal_id)
    found = tuple(
        position
        for position, *texts in rows
        if texts[0] in query.names or any(spelling.search(text) for text in texts)
    )
    return AuditsNaming(found, rows[-1][0] if len(rows) == query.limit else None)


def holdings_of(query: HoldingsOf) -> Steps[Holdings]:
    """Count what there is of a person."""
    ((sessions,),) = yield Statement(
        f"SELECT COUNT(*) FROM ({_OWNED_BY}) s", (query.principal_id,) * len(OWNED)
    )
    rows = 0
    for table in OF_SESSIONS:
        ((count,),) = yield Statement(
            f"SELECT COUNT(*) FROM {table} WHERE session_id IN"
            f" (SELECT session_id FROM ({_OWNED_BY}) s)",
            (query.principal_id,) * len(OWNED),
        )
        rows += count
    consents = 0
    for table, person, _ in OF_PEOPLE:
        ((count,),) = yield Statement(
            f"SELECT COUNT(*) FROM {table} WHERE {person} = ?", (query.principal_id,)
        )
        rows += count
        consents += count if table == "consents" else 0
    return Holdings(sessions, rows, consents)


def _owned(rows: list[Row]) -> list[OwnedSession]:
    return [OwnedSession(session_id, org_id) for session_id, org_id in rows]


PUTS: Puts = {
    BeginErasure: Put(put_begin, may_half_write=True),
    EraseSession: Put(put_session, may_half_write=True),
    SweptSession: Put(put_swept),
    EraseRows: Put(put_rows),
    RedactAudits: Put(put_redaction, may_half_write=True),
    FinishErasure: Put(put_finish),
}
ANSWERS: Answers = {
    OpenErasures: open_erasures,
    ErasureOf: erasure_of,
    NewestErasures: newest_erasures,
    SessionsOf: sessions_of,
    ConsentOrgsOf: consent_orgs_of,
    UnsweptSessions: unswept_sessions,
    AuditsThatName: audits_that_name,
    HoldingsOf: holdings_of,
}
