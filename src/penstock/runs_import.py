"""Runs from the file of the service that the surface of runs takes the place of.

Its rows are read in order, in one snapshot, and entered into the ledger as they are: also the
fields that a report could not set. A run is known by its event id, so an import that was cut short
is simply started again. At the end every event id has been looked up in the ledger.
"""

import sqlite3
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import trio

from penstock.engine.ledger_port import Ledger, LedgerUnavailableError, Verdict
from penstock.engine.runs.moments import MomentError, unix_us, written
from penstock.engine.runs.records import MAX_RUNS_TOGETHER, KnownRuns, RunsEntry
from penstock.engine.runs.run import LARGEST_INTEGER, SCHEMA_VERSION, Run, status_of
from penstock.errors import StartupError
from penstock.http.runs.bodies import LONGEST_NAME

TABLE = "agent_runs"
_NEEDED = ("event_id", "run_id", "agent_name", "job_type", "start_time")
_READ_AT_ONCE = 8 * MAX_RUNS_TOGETHER
_SHOWN_MISFITS = 20
# How long a ledger that another process keeps to itself, or that is away, is waited for.
_PATIENCE_SECONDS = 60.0
_PAUSE_SECONDS = 0.5

_NAMES = frozenset({"event_id", "agent_name", "job_type"})
_COUNTS = (
    "items_discovered",
    "items_succeeded",
    "items_failed",
    "items_skipped",
    "duration_ms",
    "api_retry_count",
)
_TEXTS = tuple(field.name for field in fields(Run) if field.default is None)


T = TypeVar("T")


class MisfitError(Exception):
    """A row is nothing that a run can be; the message says why."""


@dataclass(slots=True)
class ImportReport:
    """What became of the rows. `found` are those that the ledger was seen to have afterwards."""

    rows: int = 0
    imported: int = 0
    known: int = 0
    found: int = 0
    unfit: int = 0
    misfits: list[str] = field(default_factory=list)

    @property
    def verified(self) -> bool:
        """Say whether every row that could be a run is in the ledger."""
        return self.rows - self.unfit == self.imported + self.known == self.found


async def import_runs(
    path: Path, ledger: Ledger, now_unix: float, tell: Callable[[int, int], None]
) -> ImportReport:
    """Import a file; `tell` hears how many rows of how many are done. StartupError if it cannot."""
    report = ImportReport()
    with _opened(path) as (rows, total):
        for some in rows:
            runs = []
            for number, row in some:
                report.rows += 1
                try:
                    runs.append(run_of_row(row, now_unix))
                except MisfitError as error:
                    report.unfit += 1
                    if len(report.misfits) < _SHOWN_MISFITS:
                        report.misfits.append(f"row {number}: {error}")
            await _enter(ledger, runs, report)
            tell(report.rows, total)
    return report


async def _enter(ledger: Ledger, runs: list[Run], report: ImportReport) -> None:
    for first in range(0, len(runs), MAX_RUNS_TOGETHER):
        some = tuple(runs[first : first + MAX_RUNS_TOGETHER])
        (outcome,) = await _patiently(partial(ledger.commit, [RunsEntry(some)]))
        if outcome.verdict not in {Verdict.STORED, Verdict.REPEATED}:
            raise StartupError(
                f"the ledger cannot hold what is near {some[0].event_id!r}: {outcome}"
            )
        report.imported += sum(outcome.value)
        report.known += len(some) - sum(outcome.value)
        asked = KnownRuns(tuple({run.event_id for run in some}))
        repeated = len(some) - len(asked.event_ids)
        report.found += repeated + await _patiently(partial(ledger.read, asked))


async def _patiently(work: Callable[[], Awaitable[T]]) -> T:
    deadline = trio.current_time() + _PATIENCE_SECONDS
    while True:
        try:
            return await work()
        except LedgerUnavailableError as error:
            if trio.current_time() > deadline:
                raise StartupError(
                    f"the ledger cannot be used: {error}; what was imported stays, and the same "
                    "command goes on from there"
                ) from None
            await trio.sleep(_PAUSE_SECONDS)


Rows = Iterator[list[tuple[int, Mapping[str, Any]]]]


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Rows, int]]:
    if not path.is_file():
        raise StartupError(f"{path}: there is no such file")
    try:
        with closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
        ) as db:
            db.row_factory = sqlite3.Row
            db.execute("BEGIN")
            names = {row["name"] for row in db.execute(f"PRAGMA table_info({TABLE})")}
            missing = [name for name in _NEEDED if name not in names]
            if missing:
                what = f"its table {TABLE} has no {', '.join(missing)}" if names else f"no {TABLE}"
                raise StartupError(f"{path}: this is no file of runs: {what}")
            total = int(db.execute(f"SELECT COUNT(*) FROM {TABLE}").fetchone()[0])  # noqa: S608
            yield _pages(db), total
    except sqlite3.Error as error:
        raise StartupError(f"{path}: {error}") from None


def _pages(db: sqlite3.Connection) -> Rows:
    after = -(2**63)
    while True:
        rows = db.execute(
            f"SELECT rowid AS number, * FROM {TABLE} WHERE rowid > ? ORDER BY rowid LIMIT ?",  # noqa: S608
            (after, _READ_AT_ONCE),
        ).fetchall()
        if not rows:
            return
        after = rows[-1]["number"]
        yield [(row["number"], dict(row)) for row in rows]


def run_of_row(row: Mapping[str, Any], now_unix: float) -> Run:
    """Make a run of a row, or raise MisfitError. Times without a zone are in UTC, as SQLite's."""
    # Rows of the oldest versions have no event id; their run id was unique.
    row = {**row, "event_id": row["event_id"] or row["run_id"]}
    named = {name: _text(row, name) for name in ("event_id", "run_id", "agent_name", "job_type")}
    if not named["event_id"]:
        raise MisfitError("it has neither an event_id nor a run_id")
    for name in _NAMES:
        if len(named[name] or "") > LONGEST_NAME:
            raise MisfitError(f"{name} has more than {LONGEST_NAME} characters")
    start_time = _moment(row, "start_time")
    created_at = _moment(row, "created_at") if row.get("created_at") else written(now_unix)
    updated_at = _moment(row, "updated_at") if row.get("updated_at") else created_at
    word = str(row.get("status") or "running")
    status = status_of(word)
    if status is None:
        raise MisfitError(f"status {word!r} is none")
    others: dict[str, Any] = {name: _count(row, name) for name in _COUNTS}
    others |= {name: _text(row, name) for name in _TEXTS}
    others |= {name: text or "" for name, text in named.items()}
    return Run(
        start_time=start_time,
        start_unix_us=unix_us(start_time),
        created_at=created_at,
        created_unix_us=unix_us(created_at),
        updated_at=updated_at,
        schema_version=_count(row, "schema_version") or SCHEMA_VERSION,
        status=status.value,
        api_posted=bool(row.get("api_posted")),
        **others,
    )


def _text(row: Mapping[str, Any], name: str) -> str | None:
    value = row.get(name)
    if value is None:
        return None
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return text.replace("\0", "\ufffd")


def _count(row: Mapping[str, Any], name: str) -> int:
    value = row.get(name)
    try:
        number = int(value or 0)
    except (TypeError, ValueError, OverflowError):
        number = -1
    if not 0 <= number <= LARGEST_INTEGER:
        raise MisfitError(f"{name} {value!r} is no number from 0 on")
    return number


def _moment(row: Mapping[str, Any], name: str) -> str:
    text = str(row[name]).strip()
    for candidate in (text, text.replace(" ", "T", 1), f"{text.replace(' ', 'T', 1)}+00:00"):
        try:
            unix_us(candidate)
        except MomentError:
            continue
        return candidate
    raise MisfitError(f"{name} {text!r} is no moment")
