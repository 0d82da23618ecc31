"""What Core's answers look like."""

from typing import Any

from penstock.engine.core.grant_records import ConsentEntry, QuotaEntry
from penstock.engine.core.records import Adherence, Days, ExerciseCounts, ExerciseSession
from penstock.engine.ports import Purpose, Quota
from penstock.http.exchange import Answer, json_answer, unkept
from penstock.http.instants import iso_instant
from penstock.http.problems import Problem, problem_answer

Document = dict[str, Any]


def private(status: int, document: Document) -> Answer:
    """Answer what concerns a person: no cache may keep it."""
    return unkept(json_answer(status, document))


def refuse(
    problem: Problem,
    detail: str | None = None,
    *,
    retry_after: float | None = None,
    **facts: object,
) -> Answer:
    """Refuse something: what is not there now, or not theirs now, may be later."""
    return unkept(problem_answer(problem, detail, retry_after=retry_after, **facts))


def session(found: ExerciseSession) -> Document:
    """Tell of a session; of one without figures they are null."""
    return {
        "session_id": found.session_id,
        "principal_id": found.principal_id,
        "exercise_id": found.exercise_id or None,
        "status": found.status,
        "provisional": found.provisional,
        "revision": found.revision,
        "created_at": iso_instant(found.created_unix_ms),
        "started_at": _moment(found.started_unix_ms),
        "ended_at": _moment(found.ended_unix_ms),
        "completeness": found.completeness,
        "session_metrics": found.session_metrics,
        "media_metrics": found.media_metrics,
    }


def page(name: str, items: list[Document], next_cursor: str | None) -> Document:
    """Tell of a page; `next_cursor` is null on the last one."""
    return {name: items, "next_cursor": next_cursor}


def adherence(found: Adherence) -> Document:
    """Tell what a patient did of an exercise."""
    return {
        "principal_id": found.principal_id,
        "exercise_id": found.exercise_id or None,
        "sessions": found.sessions,
        "completed_sessions": found.completed_sessions,
        "completion_ratio": round(found.completed_sessions / found.sessions, 4),
        "active_days": found.active_days,
        "rep_count": found.rep_count,
        "exercised_seconds": found.exercised_ms / 1000,
        "last_ended_at": iso_instant(found.last_ended_unix_ms),
    }


def exercise_counts(found: ExerciseCounts) -> Document:
    """Tell what everybody did of an exercise."""
    return {
        "exercise_id": found.exercise_id or None,
        "patients": found.patients,
        "organisations": found.orgs,
        "sessions": found.sessions,
        "completed_sessions": found.completed_sessions,
        "rep_count": found.rep_count,
        "exercised_seconds": found.exercised_ms / 1000,
    }


def window(days: Days) -> Document:
    """Tell which days were asked for: `to` is the beginning of the day behind the last one."""
    return {"from": iso_instant(days.first_unix_ms), "to": iso_instant(days.end_unix_ms)}


def consent(principal_id: str, org_id: str, found: ConsentEntry | None) -> Document:
    """Tell what a principal consents to; `recorded` is false where nothing was ever said."""
    purposes: frozenset[Purpose] = frozenset() if found is None else found.purposes
    return {
        "principal_id": principal_id,
        "org_id": org_id,
        "recorded": found is not None,
        "purposes": sorted(purposes),
        "updated_at": None if found is None else iso_instant(found.updated_unix_ms),
    }


def quota(org_id: str, found: QuotaEntry | None) -> Document:
    """Tell what an organisation may send; null is no limit."""
    limits = Quota() if found is None else found.quota
    return {
        "org_id": org_id,
        "recorded": found is not None,
        "batches_per_second": limits.batches_per_second,
        "updated_at": None if found is None else iso_instant(found.updated_unix_ms),
    }


def _moment(unix_ms: int | None) -> str | None:
    return None if unix_ms is None else iso_instant(unix_ms)
