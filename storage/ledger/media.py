"""Media events and their sessions as rows."""

import orjson

from penstock.engine.checkpoint import SessionIdentity
from penstock.engine.ledger_port import Verdict
from penstock.engine.media.events import MediaEvent, most_before
from penstock.engine.media.records import (
    IDLE_AFTER_MS,
    DueMediaSession,
    DueMediaSessions,
    MediaEndedEntry,
    MediaEventEntry,
    MediaEventsOf,
    MediaFoldEntry,
    MediaOwnerOf,
    MediaStandingOf,
    StoredMediaEvent,
)
from penstock.engine.media.rollup import Standing, Surroundings, changes
from penstock.storage.ledger.media_cells import change_cells
from penstock.storage.ledger.sql import (
    Answers,
    Put,
    Puts,
    RejectedError,
    RepeatedError,
    Statement,
    Steps,
    encode,
)

_EVENT = "kind, at_unix_ms, received_unix_ms, media_id, media_type, data"


def put_event(entry: MediaEventEntry) -> Steps[None]:
    """Store an event, and the session with its first one. What is turned down writes nothing."""
    event, owner = entry.event, (entry.org_id, entry.principal_id)
    # One statement says of nearly every event that it is new and may be stored.
    new = yield Statement(
        f"INSERT INTO media_events (session_id, org_id, {_EVENT}) SELECT CAST(? AS TEXT),"
        " CAST(? AS TEXT), CAST(? AS TEXT), CAST(? AS BIGINT), CAST(? AS BIGINT), CAST(? AS TEXT),"
        " CAST(? AS TEXT), CAST(? AS TEXT) WHERE NOT EXISTS (SELECT 1 FROM media_sessions"
        " WHERE session_id = ? AND (org_id <> ? OR principal_id <> ? OR events >= ?))"
        " AND NOT EXISTS (SELECT 1 FROM erased_sessions WHERE session_id = ?)"
        " ON CONFLICT (session_id, kind, at_unix_ms) DO NOTHING RETURNING 1",
        (
            event.session_id,
            entry.org_id,
            event.kind.value,
            event.at_ms,
            event.received_ms,
            event.media_id,
            event.media_type.value,
            encode(event.data.plain()),
            event.session_id,
            *owner,
            most_before(event.kind),
            event.session_id,
        ),
    )
    if not new:
        yield from _turn_down(event, owner)
    yield Statement(
        "INSERT INTO media_sessions (session_id, org_id, principal_id, first_received_unix_ms,"
        " last_received_unix_ms, events, folded_events, ended, due_unix_ms, country_code,"
        " device_type, browser_family)"
        " VALUES (?, ?, ?, ?, ?, 1, 0, 0, ?, ?, ?, ?) ON CONFLICT (session_id) DO UPDATE SET"
        " events = media_sessions.events + 1,"
        " last_received_unix_ms = CASE WHEN"
        " media_sessions.last_received_unix_ms > excluded.last_received_unix_ms"
        " THEN media_sessions.last_received_unix_ms ELSE excluded.last_received_unix_ms END,"
        " due_unix_ms = CASE WHEN media_sessions.due_unix_ms < excluded.due_unix_ms"
        " THEN media_sessions.due_unix_ms ELSE excluded.due_unix_ms END",
        (
            event.session_id,
            *owner,
            event.received_ms,
            event.received_ms,
            entry.due_unix_ms,
            *entry.surroundings,
        ),
    )


def _turn_down(event: MediaEvent, owner: tuple[str, str]) -> Steps[None]:
    """Say why an event was not stored."""
    rows = yield Statement(
        "SELECT s.org_id, s.principal_id, s.events, e.kind FROM media_sessions s"
        " LEFT JOIN media_events e ON e.session_id = s.session_id AND e.kind = ?"
        " AND e.at_unix_ms = ? WHERE s.session_id = ?",
        (event.kind.value, event.at_ms, event.session_id),
    )
    for *owned_by, events, kind in rows:
        if tuple(owned_by) != owner:
            raise RejectedError(Verdict.CONFLICT, "the session is another principal's")
        if kind is None:
            full = f"the session has {events} media events, as many as it may"
            raise RejectedError(Verdict.FULL, full)
    if not rows:
        raise RejectedError(Verdict.CONFLICT, "the session was erased")
    raise RepeatedError


def put_ended(entry: MediaEndedEntry) -> Steps[None]:
    """Remember that a session has ended, if it has events."""
    yield Statement(
        "UPDATE media_sessions SET ended = 1, due_unix_ms = ? WHERE session_id = ?",
        (entry.at_unix_ms, entry.session_id),
    )


def put_fold(entry: MediaFoldEntry) -> Steps[None]:
    """Take a session's old standing out of the cells and put the new one in."""
    # An update, so that no other process folds the same session before this is committed.
    rows = yield Statement(
        "UPDATE media_sessions SET due_unix_ms = NULL WHERE session_id = ?"
        " RETURNING events, folded_events, ended, last_received_unix_ms, standing",
        (entry.session_id,),
    )
    if not rows:
        raise RejectedError(Verdict.CONFLICT, "there is no such session")
    if entry.standing is None:
        return
    events, folded, ended, last_received, standing = rows[0]
    before = after = _read_standing(standing)
    if entry.events >= folded:
        after, folded = entry.standing, entry.events
    yield from change_cells(changes(before, after))
    due = None
    if events > entry.events or (ended and not entry.closed):
        # What came between the look and this may have been an end.
        due = entry.at_unix_ms
    elif not entry.closed:
        # Then it is over, whether or not anybody has said so.
        due = last_received + IDLE_AFTER_MS
    yield Statement(
        "UPDATE media_sessions SET folded_events = ?, standing = ?, due_unix_ms = ?"
        " WHERE session_id = ?",
        (folded, None if after is None else encode(after.plain()), due, entry.session_id),
    )


def _read_standing(text: str | None) -> Standing | None:
    try:
        return None if text is None else Standing.from_plain(orjson.loads(text))
    except (KeyError, TypeError, ValueError):
        what = "what the session counted for is nothing that this version knows"
        raise RejectedError(Verdict.CONFLICT, what) from None


def owner_of(query: MediaOwnerOf) -> Steps[SessionIdentity | None]:
    """Give whose session it is."""
    rows = yield Statement(
        "SELECT session_id, principal_id, org_id FROM media_sessions WHERE session_id = ?",
        (query.session_id,),
    )
    return SessionIdentity(*rows[0]) if rows else None


def events_of(query: MediaEventsOf) -> Steps[list[StoredMediaEvent]]:
    """Give a session's events."""
    rows = yield Statement(
        f"SELECT {_EVENT} FROM media_events WHERE session_id = ?", (query.session_id,)
    )
    return [StoredMediaEvent(*row) for row in rows]


def due_sessions(query: DueMediaSessions) -> Steps[list[DueMediaSession]]:
    """Give the sessions that are due."""
    rows = yield Statement(
        "SELECT session_id, ended, last_received_unix_ms, country_code, device_type, browser_family"
        " FROM media_sessions WHERE due_unix_ms <= ? ORDER BY due_unix_ms LIMIT ?",
        (query.now_unix_ms, query.limit),
    )
    return [
        DueMediaSession(session_id, bool(ended), last_received, Surroundings(*around))
        for session_id, ended, last_received, *around in rows
    ]


def standing_of(query: MediaStandingOf) -> Steps[Standing | None]:
    """Give what a session counts for."""
    rows = yield Statement(
        "SELECT standing FROM media_sessions WHERE session_id = ? AND standing IS NOT NULL",
        (query.session_id,),
    )
    return Standing.from_plain(orjson.loads(rows[0][0])) if rows else None


PUTS: Puts = {
    MediaEventEntry: Put(put_event),
    MediaEndedEntry: Put(put_ended),
    MediaFoldEntry: Put(put_fold, may_half_write=True),
}
ANSWERS: Answers = {
    MediaOwnerOf: owner_of,
    MediaEventsOf: events_of,
    DueMediaSessions: due_sessions,
    MediaStandingOf: standing_of,
}
