"""Exercise sessions and their figures as rows.

A new revision replaces the figures of the one before. What a patient did on a day
(`patient_exercise_logs`) is counted anew for each day that a revision touches, rather than added
to: so it is the same however often, and in whatever order, revisions come.
"""

from itertools import chain
from typing import Any

import orjson

from penstock.engine.core.records import (
    OPEN,
    AggregateEntry,
    ExerciseSession,
    ExerciseSessionEntry,
    ExerciseSessionOf,
    PatientSessions,
    RepMetricsOf,
)
from penstock.engine.ledger_port import Verdict
from penstock.storage.ledger.sql import (
    Answers,
    Put,
    Puts,
    RejectedError,
    RepeatedError,
    Row,
    Statement,
    Steps,
    compare,
    encode,
)

DAY_MS = 24 * 3600 * 1000
# A statement for each would be a round trip to PostgreSQL for each.
_REPS_AT_ONCE = 100

_COLUMNS = (
    "session_id, org_id, principal_id, exercise_id, created_unix_ms, status, provisional,"
    " revision, started_unix_ms, ended_unix_ms, completeness"
)
_SESSIONS = (
    f"SELECT {', '.join('s.' + name for name in _COLUMNS.split(', '))}, p.metrics, m.metrics"
    " FROM exercise_sessions s"
    " LEFT JOIN pose_session_metrics p ON p.session_id = s.session_id"
    " LEFT JOIN media_session_metrics m ON m.session_id = s.session_id"
)


def put_exercise_session(entry: ExerciseSessionEntry) -> Steps[None]:
    """Store a session that begins."""
    row = (entry.session_id, entry.org_id, entry.principal_id, entry.exercise_id)
    done = yield Statement(
        f"INSERT INTO exercise_sessions ({_COLUMNS})"
        f" VALUES (?, ?, ?, ?, ?, '{OPEN}', 0, 0, NULL, NULL, NULL)"
        " ON CONFLICT (session_id) DO NOTHING RETURNING 1",
        (*row, entry.created_unix_ms),
    )
    if not done:
        (there,) = yield Statement(
            "SELECT session_id, org_id, principal_id, exercise_id FROM exercise_sessions"
            " WHERE session_id = ?",
            row[:1],
        )
        compare(there, row, "there is another session of this id")


def put_aggregate(entry: AggregateEntry) -> Steps[None]:
    """Store the figures of a revision, unless there are those of it or of a newer one."""
    known = yield Statement(
        "SELECT org_id, principal_id, revision, exercise_id, ended_unix_ms FROM exercise_sessions"
        " WHERE session_id = ?",
        (entry.session_id,),
    )
    before: Row | None = None
    if known:
        before = known[0]
        if before[:2] != (entry.org_id, entry.principal_id):
            raise RejectedError(
                Verdict.CONFLICT, "the session is another principal's or organisation's"
            )
        if before[2] >= entry.revision:
            raise RepeatedError
    else:
        erased = yield Statement(
            "SELECT 1 FROM erased_sessions WHERE session_id = ?", (entry.session_id,)
        )
        if erased:
            raise RejectedError(Verdict.CONFLICT, "the session was erased")
    exercise_id = entry.exercise_id or (before[3] if before else "")
    created = entry.ended_unix_ms if entry.started_unix_ms is None else entry.started_unix_ms
    yield Statement(
        f"INSERT INTO exercise_sessions ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (session_id) DO UPDATE SET exercise_id = excluded.exercise_id,"
        " status = excluded.status, provisional = excluded.provisional,"
        " revision = excluded.revision, started_unix_ms = excluded.started_unix_ms,"
        " ended_unix_ms = excluded.ended_unix_ms, completeness = excluded.completeness",
        (
            entry.session_id,
            entry.org_id,
            entry.principal_id,
            exercise_id,
            created,
            entry.status,
            int(entry.provisional),
            entry.revision,
            entry.started_unix_ms,
            entry.ended_unix_ms,
            entry.completeness,
        ),
    )
    yield from _put_figures(entry)
    yield from _put_reps(entry)
    touched = {(exercise_id, entry.ended_unix_ms // DAY_MS)}
    if before is not None and before[4] is not None:
        touched.add((before[3], before[4] // DAY_MS))
    for exercise, day in sorted(touched):
        yield from _count_day(entry.org_id, entry.principal_id, exercise, day * DAY_MS)


def _put_figures(entry: AggregateEntry) -> Steps[None]:
    owner = (entry.session_id, entry.org_id, entry.principal_id, entry.revision)
    duration = entry.session_metrics.get("duration_s")
    yield Statement(
        "INSERT INTO pose_session_metrics (session_id, org_id, principal_id, revision, rep_count,"
        " duration_ms, metrics) VALUES (?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (session_id) DO UPDATE SET revision = excluded.revision,"
        " rep_count = excluded.rep_count, duration_ms = excluded.duration_ms,"
        " metrics = excluded.metrics",
        (
            *owner,
            entry.session_metrics.get("rep_count"),
            None if duration is None else round(duration * 1000),
            encode(entry.session_metrics),
        ),
    )
    if entry.media_metrics is None:
        yield Statement(
            "DELETE FROM media_session_metrics WHERE session_id = ?", (entry.session_id,)
        )
        return
    yield Statement(
        "INSERT INTO media_session_metrics (session_id, org_id, principal_id, revision, metrics)"
        " VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (session_id) DO UPDATE SET revision = excluded.revision,"
        " metrics = excluded.metrics",
        (*owner, encode(entry.media_metrics)),
    )


def _put_reps(entry: AggregateEntry) -> Steps[None]:
    yield Statement("DELETE FROM pose_rep_metrics WHERE session_id = ?", (entry.session_id,))
    for at in range(0, len(entry.rep_metrics), _REPS_AT_ONCE):
        reps = entry.rep_metrics[at : at + _REPS_AT_ONCE]
        values = ((entry.session_id, rep["rep_number"], entry.org_id, encode(rep)) for rep in reps)
        yield Statement(
            "INSERT INTO pose_rep_metrics (session_id, rep_number, org_id, metrics) VALUES "
            + ", ".join(["(?, ?, ?, ?)"] * len(reps)),
            tuple(chain.from_iterable(values)),
        )


def _count_day(org_id: str, principal_id: str, exercise_id: str, day_unix_ms: int) -> Steps[None]:
    log = (org_id, principal_id, exercise_id, day_unix_ms)
    yield Statement(
        "DELETE FROM patient_exercise_logs"
        " WHERE org_id = ? AND principal_id = ? AND exercise_id = ? AND day_unix_ms = ?",
        log,
    )
    # A provisional end is a session, too: the patient was there. Only the client completes one.
    yield Statement(
        "INSERT INTO patient_exercise_logs (org_id, principal_id, exercise_id, day_unix_ms,"
        " sessions, completed_sessions, rep_count, exercised_ms, last_ended_unix_ms)"
        " SELECT s.org_id, s.principal_id, s.exercise_id, CAST(? AS BIGINT), COUNT(*),"
        " COUNT(CASE WHEN s.status = 'completed' THEN 1 END),"
        " COALESCE(CAST(SUM(p.rep_count) AS BIGINT), 0),"
        " COALESCE(CAST(SUM(p.duration_ms) AS BIGINT), 0), MAX(s.ended_unix_ms)"
        " FROM exercise_sessions s"
        " LEFT JOIN pose_session_metrics p ON p.session_id = s.session_id"
        " WHERE s.org_id = ? AND s.principal_id = ? AND s.exercise_id = ?"
        " AND s.ended_unix_ms >= ? AND s.ended_unix_ms < ?"
        " GROUP BY s.org_id, s.principal_id, s.exercise_id",
        (day_unix_ms, *log[:3], day_unix_ms, day_unix_ms + DAY_MS),
    )


def patient_sessions(query: PatientSessions) -> Steps[list[ExerciseSession]]:
    """Give a page of a patient's sessions, the newest first."""
    behind = ""
    mark: tuple[object, ...] = ()
    if query.after is not None:
        behind, mark = " AND (s.created_unix_ms, s.session_id) < (?, ?)", tuple(query.after)
    rows = yield Statement(
        f"{_SESSIONS} WHERE s.org_id = ? AND s.principal_id = ?{behind}"
        " ORDER BY s.created_unix_ms DESC, s.session_id DESC LIMIT ?",
        (query.org_id, query.principal_id, *mark, query.limit),
    )
    return [_session(row) for row in rows]


def exercise_session_of(query: ExerciseSessionOf) -> Steps[ExerciseSession | None]:
    """Give one session."""
    own = ""
    principal: tuple[object, ...] = ()
    if query.principal_id is not None:
        own, principal = " AND s.principal_id = ?", (query.principal_id,)
    rows = yield Statement(
        f"{_SESSIONS} WHERE s.org_id = ? AND s.session_id = ?{own}",
        (query.org_id, query.session_id, *principal),
    )
    return _session(rows[0]) if rows else None


def rep_metrics_of(query: RepMetricsOf) -> Steps[list[dict[str, Any]]]:
    """Give the figures of a session's repetitions."""
    rows = yield Statement(
        "SELECT metrics FROM pose_rep_metrics WHERE org_id = ? AND session_id = ?"
        " ORDER BY rep_number",
        (query.org_id, query.session_id),
    )
    return [orjson.loads(metrics) for (metrics,) in rows]


def _session(row: Row) -> ExerciseSession:
    (*names, created, status, provisional, revision, started, ended, done, pose, media) = row
    session_id, org_id, principal_id, exercise_id = names
    return ExerciseSession(
        session_id,
        org_id,
        principal_id,
        exercise_id,
        created,
        status,
        bool(provisional),
        revision,
        started,
        ended,
        done,
        _figures(pose),
        _figures(media),
    )


def _figures(text: str | None) -> dict[str, Any] | None:
    figures: dict[str, Any] | None = None if text is None else orjson.loads(text)
    return figures


PUTS: Puts = {
    ExerciseSessionEntry: Put(put_exercise_session),
    AggregateEntry: Put(put_aggregate, may_half_write=True),
}
ANSWERS: Answers = {
    PatientSessions: patient_sessions,
    ExerciseSessionOf: exercise_session_of,
    RepMetricsOf: rep_metrics_of,
}
