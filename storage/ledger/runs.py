"""Runs as rows.

A page is found in an index alone, and only then are its rows fetched: `offset` counts entries of an
index, not rows. A filter by `start_time` is the one that the answer's order does not follow. Where
it leaves few runs, they are found by it and sorted; where it leaves many, the index in the answer's
order is read until the page is full. Which of the two is asked of the index first, and then said by
writing the columns that are not to be looked up by as expressions: `x + 0` is in no index.
"""

from collections.abc import Sequence
from functools import cache
from itertools import chain
from operator import attrgetter
from typing import cast

from penstock.engine.ledger_port import EntryOutcome, Verdict
from penstock.engine.runs.records import (
    CommitOfRun,
    KnownRuns,
    NamesOfRuns,
    RunNames,
    RunOf,
    RunPage,
    RunsEntry,
    RunTotals,
    RunUpdate,
    TotalsOfRuns,
)
from penstock.engine.runs.run import RUN_FIELDS, Run, StoredRun
from penstock.storage.ledger.sql import (
    Answers,
    Join,
    Put,
    Puts,
    RepeatedError,
    Row,
    Statement,
    Steps,
)

# Up to here, sorting what a filter by `start_time` leaves is cheaper than reading past the others.
FEW_RUNS = 5000

_COLUMNS = ", ".join(RUN_FIELDS)
_POSTED = RUN_FIELDS.index("api_posted")
_values = attrgetter(*RUN_FIELDS)


def put_runs(entry: RunsEntry) -> Steps[tuple[bool, ...]]:
    """Store the runs that are new."""
    ((verdict, _, flags),) = yield from put_runs_together((entry,))
    if verdict is Verdict.REPEATED:
        raise RepeatedError(flags)
    return cast("tuple[bool, ...]", flags)


def put_runs_together(entries: Sequence[RunsEntry]) -> Steps[list[EntryOutcome]]:
    """Store the runs of all entries that are new, by one statement."""
    rows = [_row(run) for entry in entries for run in entry.runs]
    done = yield Statement(_insertion(len(rows)), tuple(chain.from_iterable(rows)))
    new = {event_id for (event_id,) in done}
    outcomes = []
    for entry in entries:
        flags = []
        for run in entry.runs:
            flags.append(run.event_id in new)
            new.discard(run.event_id)  # who brings the same id again, a little later, is late
        verdict = Verdict.STORED if any(flags) else Verdict.REPEATED
        outcomes.append(EntryOutcome(verdict, value=tuple(flags)))
    return outcomes


def put_update(entry: RunUpdate) -> Steps[bool]:
    """Write the new values."""
    names = [name for name, _ in entry.changes]
    assert set(names) <= set(RUN_FIELDS)  # noqa: S101 - they become SQL
    assigned = ", ".join(f"{name} = ?" for name in names)
    done = yield Statement(
        f"UPDATE runs SET {assigned} WHERE event_id = ? RETURNING 1",
        (*(value for _, value in entry.changes), entry.event_id),
    )
    return bool(done)


def put_commit(entry: CommitOfRun) -> Steps[str | None]:
    """Write the commit, all of it."""
    done = yield Statement(
        "UPDATE runs SET git_commit_hash = ?, git_commit_source = ?, git_commit_author = ?,"
        " git_commit_timestamp = ?, updated_at = ? WHERE event_id = ? RETURNING run_id",
        (
            entry.commit_hash,
            entry.commit_source,
            entry.commit_author,
            entry.commit_timestamp,
            entry.updated_at,
            entry.event_id,
        ),
    )
    return done[0][0] if done else None


def run_of(query: RunOf) -> Steps[StoredRun | None]:
    """Give one run."""
    rows = yield Statement(f"SELECT id, {_COLUMNS} FROM runs WHERE event_id = ?", (query.event_id,))
    return _stored(rows[0]) if rows else None


def run_page(query: RunPage) -> Steps[list[StoredRun]]:
    """Give a page."""
    spans = _bounds("start_unix_us", ">=", query.start_from_us, "<=", query.start_to_us)
    few = False
    if spans:
        limited = " AND ".join(condition for condition, _ in spans)
        found = yield Statement(
            f"SELECT COUNT(*) FROM (SELECT 1 FROM runs WHERE {limited} LIMIT {FEW_RUNS + 1}) AS n",
            tuple(value for _, value in spans),
        )
        few = found[0][0] <= FEW_RUNS
    text, number = (" || ''", " + 0") if few else ("", "")
    conditions = [
        (f"{column}{text} = ?", value)
        for column in ("agent_name", "job_type", "status")
        if (value := getattr(query, column)) is not None
    ]
    created = f"created_unix_us{number}"
    conditions += _bounds(created, ">", query.created_after_us, "<", query.created_before_us)
    start = "start_unix_us" if few else "start_unix_us + 0"
    conditions += _bounds(start, ">=", query.start_from_us, "<=", query.start_to_us)
    where = [condition for condition, _ in conditions]
    values = [value for _, value in conditions]
    if query.after is not None:
        where.append(f"({created}, id) < (?, ?)")
        values += query.after
    page = (
        f"SELECT id FROM runs {'WHERE ' if where else ''}{' AND '.join(where)}"
        f" ORDER BY {created} DESC, id DESC LIMIT ? OFFSET ?"
    )
    rows = yield Statement(
        f"SELECT id, {_COLUMNS} FROM runs WHERE id IN ({page})"
        " ORDER BY created_unix_us + 0 DESC, id DESC",
        (*values, query.limit, query.offset),
    )
    return [_stored(row) for row in rows]


def names_of_runs(_query: NamesOfRuns) -> Steps[RunNames]:
    """Give the names: each is looked up behind the one before it, not searched for in all rows."""
    agents = yield Statement("SELECT agent_name FROM run_agents")
    jobs = yield Statement(
        "WITH RECURSIVE names(name) AS (SELECT MIN(job_type) FROM runs UNION ALL"
        " SELECT (SELECT MIN(job_type) FROM runs WHERE job_type > names.name) FROM names"
        " WHERE names.name IS NOT NULL) SELECT name FROM names WHERE name IS NOT NULL"
    )
    return RunNames(sorted(name for (name,) in agents), sorted(name for (name,) in jobs))


def totals_of_runs(query: TotalsOfRuns) -> Steps[RunTotals]:
    """Give the totals."""
    agents = yield Statement("SELECT agent_name, runs FROM run_agents ORDER BY agent_name")
    recent = yield Statement(
        "SELECT COUNT(*) FROM runs WHERE created_unix_us >= ?", (query.recent_since_us,)
    )
    return RunTotals({name: int(runs) for name, runs in agents}, int(recent[0][0]))


def known_runs(query: KnownRuns) -> Steps[int]:
    """Count the runs."""
    if not query.event_ids:
        return 0
    places = ", ".join("?" * len(query.event_ids))
    rows = yield Statement(
        f"SELECT COUNT(*) FROM runs WHERE event_id IN ({places})", query.event_ids
    )
    return int(rows[0][0])


@cache
def _insertion(count: int) -> str:
    row = f"({', '.join('?' * len(RUN_FIELDS))})"
    return (
        f"INSERT INTO runs ({_COLUMNS}) VALUES {', '.join([row] * count)}"
        " ON CONFLICT (event_id) DO NOTHING RETURNING event_id"
    )


def _bounds(
    column: str, low_sign: str, low: int | None, high_sign: str, high: int | None
) -> list[tuple[str, int]]:
    """Write the ends of a span that there are."""
    ends = ((low_sign, low), (high_sign, high))
    return [(f"{column} {sign} ?", end) for sign, end in ends if end is not None]


def _row(run: Run) -> Row:
    row: Row = _values(run)
    return (*row[:_POSTED], int(run.api_posted), *row[_POSTED + 1 :])


def _stored(row: Row) -> StoredRun:
    number, *values = row
    values[_POSTED] = bool(values[_POSTED])
    return StoredRun(number, Run(*values))


PUTS: Puts = {
    RunsEntry: Put(put_runs, join=Join(lambda entry: len(entry.runs), put_runs_together)),
    RunUpdate: Put(put_update),
    CommitOfRun: Put(put_commit),
}
ANSWERS: Answers = {
    RunOf: run_of,
    RunPage: run_page,
    NamesOfRuns: names_of_runs,
    TotalsOfRuns: totals_of_runs,
    KnownRuns: known_runs,
}
