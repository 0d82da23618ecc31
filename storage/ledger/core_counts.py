"""What patients did, summed up: of a cohort by patient, of the platform by exercise."""

from penstock.engine.core.records import (
    Adherence,
    CohortAdherence,
    ExerciseCounts,
    PlatformCounts,
)
from penstock.storage.ledger.sql import Answers, Puts, Statement, Steps

# PostgreSQL's sums of BIGINT are of a type of their own.
_SUMS = ", ".join(
    f"CAST(SUM({name}) AS BIGINT)"
    for name in ("sessions", "completed_sessions", "rep_count", "exercised_ms")
)


def cohort_adherence(query: CohortAdherence) -> Steps[list[Adherence]]:
    """Give a page of what an organisation's patients did."""
    bounds = "org_id = ? AND day_unix_ms >= ? AND day_unix_ms < ?"
    values: tuple[object, ...] = (query.org_id, *query.days)
    if query.exercise_id is not None:
        bounds, values = f"{bounds} AND exercise_id = ?", (*values, query.exercise_id)
    if query.after is not None:
        bounds = f"{bounds} AND (principal_id, exercise_id) > (?, ?)"
        values = (*values, *query.after)
    rows = yield Statement(
        f"SELECT principal_id, exercise_id, {_SUMS}, COUNT(*), MAX(last_ended_unix_ms)"
        f" FROM patient_exercise_logs WHERE {bounds} GROUP BY principal_id, exercise_id"
        " ORDER BY principal_id, exercise_id LIMIT ?",
        (*values, query.limit),
    )
    return [Adherence(*row) for row in rows]


def platform_counts(query: PlatformCounts) -> Steps[list[ExerciseCounts]]:
    """Give a page of what was done of each exercise by enough patients."""
    behind = "" if query.after is None else " AND exercise_id > ?"
    mark = () if query.after is None else (query.after,)
    rows = yield Statement(
        "SELECT exercise_id, COUNT(DISTINCT principal_id) AS patients, COUNT(DISTINCT org_id),"
        f" {_SUMS} FROM patient_exercise_logs WHERE day_unix_ms >= ? AND day_unix_ms < ?{behind}"
        " GROUP BY exercise_id HAVING COUNT(DISTINCT principal_id) >= ?"
        " ORDER BY exercise_id LIMIT ?",
        (*query.days, *mark, query.fewest_patients, query.limit),
    )
    return [ExerciseCounts(*row) for row in rows]


PUTS: Puts = {}
ANSWERS: Answers = {CohortAdherence: cohort_adherence, PlatformCounts: platform_counts}
