"""The cells of the media statistics as rows: sums that only ever have something added to them.

A cell's sums are one row. Each bucket of its sketches is two, the hour's and the day's: a window is
read as whole days and the hours before the first of them. So the database adds up what a statistic
is made of, and a month of it is some ten thousand rows.

A session that moves from one cell to another leaves nothing behind: rows that hold no session any
more are removed.
"""

from collections.abc import Iterable, Mapping, Sequence

from penstock.engine.ledger_port import Verdict
from penstock.engine.media.metrics import MediaStatus
from penstock.engine.media.records import DimensionCells, StatusCells
from penstock.engine.media.rollup import (
    ALL_MEDIA,
    COLUMNS,
    HOUR_SECONDS,
    Cell,
    Change,
    Dimension,
    Measure,
)
from penstock.engine.media.sketch import Sketch
from penstock.storage.ledger.sql import Answers, Puts, RejectedError, Row, Statement, Steps

_CELL_KEY = ("dimension", "media_id", "hour_unix", "value")
_BUCKET_KEY = ("hours", "start_unix", "status", "measure", "bucket")
_HOUR, _DAY = 1, 24
_DAY_SECONDS = _DAY * HOUR_SECONDS
_INDEX = {column: index for index, column in enumerate(COLUMNS)}
# Far under what a statement may have of values, with the widest row.
_ROWS = 256
# The database makes wider numbers of sums, which other places do not take.
_TOTALS = ", ".join(f"CAST(SUM({column}) AS BIGINT)" for column in COLUMNS)
_DAMAGED = "the cells do not hold what the session was counted for"


def change_cells(changes: Iterable[Change]) -> Steps[None]:
    """Make changes, of one session or of many; rejected where more would go than there is."""
    cells: dict[Row, list[int]] = {}
    buckets: dict[Row, list[int]] = {}
    for change in changes:
        key = change.key
        place = (key.dimension.value, key.media_id, key.hour_unix, key.value)
        sums = cells.setdefault(place, [0] * len(COLUMNS))
        for column, amount in change.columns().items():
            sums[_INDEX[column]] += amount
        for (measure, bucket), amount in change.buckets().items():
            for hours, start in ((_HOUR, key.hour_unix), (_DAY, _day_of(key.hour_unix))):
                where = (hours, start, key.value, measure.value, bucket)
                buckets.setdefault(where, [0])[0] += amount
    yield from _add("media_cells", _CELL_KEY, COLUMNS, cells)
    yield from _add("media_sketches", _BUCKET_KEY, ("sessions",), buckets)


def _add(
    table: str, key: Sequence[str], columns: Sequence[str], rows: Mapping[Row, Sequence[int]]
) -> Steps[None]:
    """Add to rows, which are made where they are missing, and removed where nothing is left."""
    adding = ", ".join(f"{column} = {table}.{column} + excluded.{column}" for column in columns)
    names, width = ", ".join((*key, *columns)), len(key)
    where = " AND ".join(f"{name} = ?" for name in key)
    # In one order, so that two processes that do this at once cannot wait for each other.
    told = [(*place, *rows[place]) for place in sorted(rows) if any(rows[place])]
    for start in range(0, len(told), _ROWS):
        portion = told[start : start + _ROWS]
        marks = ", ".join([f"({', '.join('?' * len(portion[0]))})"] * len(portion))
        left = yield Statement(
            f"INSERT INTO {table} ({names}) VALUES {marks}"
            f" ON CONFLICT ({', '.join(key)}) DO UPDATE SET {adding} RETURNING {names}",
            tuple(value for row in portion for value in row),
        )
        for row in left:
            if min(row[width:]) < 0:
                raise RejectedError(Verdict.CONFLICT, _DAMAGED)
            if not row[width]:  # of either table it is the sessions
                yield Statement(f"DELETE FROM {table} WHERE {where}", tuple(row[:width]))


def dimension_cells(query: DimensionCells) -> Steps[list[tuple[str, Cell]]]:
    """Add up the sums of a dimension, value by value."""
    rows = yield Statement(
        f"SELECT value, {_TOTALS} FROM media_cells"
        " WHERE dimension = ? AND media_id = ? AND hour_unix >= ? GROUP BY value",
        (query.dimension.value, query.media_id, query.since_unix),
    )
    return [(value, Cell(list(sums))) for value, *sums in rows]


def status_cells(query: StatusCells) -> Steps[list[tuple[MediaStatus, Cell]]]:
    """Add up the sums and the sketches, status by status."""
    only = "" if query.status is None else " AND value = ?"
    of_one = () if query.status is None else (query.status.value,)
    rows = yield Statement(
        f"SELECT value, {_TOTALS} FROM media_cells"
        f" WHERE dimension = ? AND media_id = ? AND hour_unix >= ?{only} GROUP BY value",
        (Dimension.STATUS.value, ALL_MEDIA, query.since_unix, *of_one),
    )
    cells = {MediaStatus(value): Cell(list(sums)) for value, *sums in rows}
    only = "" if query.status is None else " AND status = ?"
    first_day = _day_of(query.since_unix + _DAY_SECONDS - 1)
    of_part = "SELECT status, measure, bucket, sessions FROM media_sketches WHERE hours = ?"
    counts = yield Statement(
        "SELECT status, measure, bucket, CAST(SUM(sessions) AS BIGINT) FROM ("
        f" {of_part} AND start_unix >= ? AND start_unix < ?{only}"
        f" UNION ALL {of_part} AND start_unix >= ?{only}"
        ") parts GROUP BY status, measure, bucket",
        (_HOUR, query.since_unix, first_day, *of_one, _DAY, first_day, *of_one),
    )
    found: dict[tuple[MediaStatus, Measure], list[tuple[int, int]]] = {}
    for status, measure, bucket, count in counts:
        found.setdefault((MediaStatus(status), Measure(measure)), []).append((bucket, count))
    for (status, measure), pairs in found.items():
        cells[status].sketches[measure] = Sketch(pairs)
    return list(cells.items())


def _day_of(unix: int) -> int:
    return unix - unix % _DAY_SECONDS


PUTS: Puts = {}
ANSWERS: Answers = {DimensionCells: dimension_cells, StatusCells: status_cells}
