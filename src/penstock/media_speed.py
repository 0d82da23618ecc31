"""How many media events a second a ledger takes, and how long its statistics take to be answered.

Events go through the writer's durable lane, as in the service. For the statistics the ledger is
filled with the cells of so many sessions of the last thirty days: each is drawn, counted by the
same steps as in the service, and a day's sessions are written at once, which is all that differs.
"""

import asyncio
import itertools
import math
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from uuid import uuid4

from penstock.engine.ledger_port import Ledger
from penstock.engine.media.events import MediaData, MediaEvent, MediaKind, MediaType
from penstock.engine.media.metrics import MediaStatus
from penstock.engine.media.records import DimensionCells, MediaEventEntry, StatusCells
from penstock.engine.media.rollup import (
    HOUR_SECONDS,
    Change,
    Dimension,
    Standing,
    Surroundings,
    changes,
)
from penstock.engine.media.statistics import Period, bandwidth_statistics, session_statistics
from penstock.engine.receipts import Lane
from penstock.ledger_speed import Speed, measure, refuse_used
from penstock.ledgers import LEDGER_FILE, open_ledger
from penstock.settings import Settings
from penstock.storage.ledger.media_cells import change_cells
from penstock.storage.ledger.sql import Row, Statement, Steps

_HOURS = Period.MONTH.seconds // HOUR_SECONDS
_DAY = 24
_MEDIA = 40
_AGAIN = 20
# A minute's exercise with a heartbeat every ten seconds.
_KINDS = (
    MediaKind.SESSION_START,
    MediaKind.PLAY,
    *[MediaKind.HEARTBEAT] * 7,
    MediaKind.SESSION_END,
)
_DATA = MediaData(elapsed_ms=12_000.0, position_seconds=11.5, bitrate=2_500_000.0, playing=True)


@dataclass(slots=True, frozen=True)
class StatisticSpeed:
    """How long one statistic took, of so many sessions."""

    statistic: str
    sessions: int
    p50_ms: float
    worst_ms: float


@dataclass(slots=True, frozen=True)
class MediaSpeed:
    """What was measured: of events by the number of submitters, and of statistics."""

    events: list[Speed]
    statistics: list[StatisticSpeed]


async def make_new_ledger(settings: Settings) -> None:
    """Make the ledger that the settings name; StartupError when it is no new one."""
    await refuse_used(settings)
    async with open_ledger(settings):
        pass


def fill(settings: Settings, sessions: int, tell: Callable[[int], None]) -> None:
    """Write the cells of so many sessions, ending now; `tell` is told how many are written."""
    now = int(time.time())
    hours = [now - now % HOUR_SECONDS - number * HOUR_SECONDS for number in range(_HOURS)]
    chance = random.Random(1)  # noqa: S311 - the same sessions each time
    days = [hours[start : start + _DAY] for start in range(0, _HOURS, _DAY)]
    drawn = (_drawn_day(chance, day, sessions // _HOURS) for day in days)
    if settings.database_url is None:
        _fill_sqlite(settings, drawn, lambda: tell(sessions // len(days)))
    else:
        url = settings.database_url.get_secret_value()
        asyncio.run(_fill_postgres(url, drawn, lambda: tell(sessions // len(days))))


async def measure_media(settings: Settings, *, seconds: float, sessions: int) -> MediaSpeed:
    """Measure a ledger that `fill` has filled."""
    async with open_ledger(settings) as ledger:
        statistics = await _measure_statistics(ledger, sessions)
        events = await measure(ledger, seconds, _event_maker(), Lane.DURABLE)
    return MediaSpeed(events, statistics)


async def _measure_statistics(ledger: Ledger, sessions: int) -> list[StatisticSpeed]:
    measured = []
    for period in Period:
        since = period.window_start_unix(time.time())
        for dimension in (Dimension.COUNTRY_CODE, Dimension.BROWSER_FAMILY):
            cells = DimensionCells(since, dimension)
            took = [await _seconds(ledger, cells) for _ in range(_AGAIN)]
            measured.append(_speed(f"bandwidth {period} by {dimension}", sessions, took))
        one = DimensionCells(since, Dimension.COUNTRY_CODE, "medium 7")
        took = [await _seconds(ledger, one) for _ in range(_AGAIN)]
        measured.append(_speed(f"bandwidth {period} of a medium", sessions, took))
        took = [await _seconds(ledger, StatusCells(since)) for _ in range(_AGAIN)]
        measured.append(_speed(f"sessions {period}", sessions, took))
    return measured


async def _seconds(ledger: Ledger, query: DimensionCells | StatusCells) -> float:
    began = time.perf_counter()
    if isinstance(query, DimensionCells):
        values = await ledger.read(query)
        bandwidth_statistics(values)
    else:
        statuses = await ledger.read(query)
        session_statistics(statuses)
    return time.perf_counter() - began


def _speed(statistic: str, sessions: int, took: list[float]) -> StatisticSpeed:
    took.sort()
    return StatisticSpeed(statistic, sessions, took[len(took) // 2] * 1000, took[-1] * 1000)


def _event_maker() -> Callable[[], MediaEventEntry]:
    """Give a maker of events, ten a session."""
    events = _events()
    return lambda: next(events)


def _events() -> Iterator[MediaEventEntry]:
    around = Surroundings("RO", "mobile", "Firefox")
    while True:
        session_id, began = str(uuid4()), int(time.time() * 1000)
        for number, kind in enumerate(_KINDS):
            at = began + number
            event = MediaEvent(session_id, "squat", MediaType.VIDEO, kind, at, at, _DATA)
            yield MediaEventEntry(event, "an org", "a principal", around)


def _drawn_day(chance: random.Random, hours: list[int], sessions: int) -> list[Change]:
    drawn = (_drawn(chance, hour) for hour in hours for _ in range(sessions))
    return list(itertools.chain.from_iterable(changes(None, standing) for standing in drawn))


def _drawn(chance: random.Random, hour: int) -> Standing:
    def around(median: float, spread: float) -> int:
        return round(median * math.exp(chance.gauss(0, spread)))

    stalls = chance.choice((0, 0, 0, 1, 2))
    return Standing(
        "",
        f"medium {chance.randrange(_MEDIA)}",
        hour,
        chance.choices(tuple(MediaStatus), (4, 72, 24))[0],
        chance.random() < 0.03,
        chance.choice(("RO", "IT", "DE", "FR", "GB", "US", "ES", "PL", "AT", "unknown")),
        chance.choice(("mobile", "tablet", "desktop")),
        chance.choice(("wifi", "4g", "ethernet", "unknown")),
        chance.choice(("Chrome", "Safari", "Firefox", "Edge")),
        around(300, 0.7),
        around(900, 0.7),
        stalls,
        around(800, 1.2) if stalls else 0,
        around(2_500_000, 0.4),
        around(85_000, 0.5),
        chance.randrange(10_001),
    )


def _next(steps: Steps[None], rows: list[Row] | None) -> Statement | None:
    """Give the next statement; None when there is none."""
    try:
        return next(steps) if rows is None else steps.send(rows)
    except StopIteration:
        return None


def _fill_sqlite(
    settings: Settings, days: Iterator[list[Change]], tell: Callable[[], None]
) -> None:
    with closing(sqlite3.connect(settings.data_dir / LEDGER_FILE, isolation_level=None)) as db:
        for day in days:
            db.execute("BEGIN")
            steps: Steps[None] = change_cells(day)
            rows: list[Row] | None = None
            while (statement := _next(steps, rows)) is not None:
                rows = db.execute(*statement).fetchall()
            db.execute("COMMIT")
            tell()


async def _fill_postgres(url: str, days: Iterator[list[Change]], tell: Callable[[], None]) -> None:
    import asyncpg  # type: ignore[import-untyped]  # noqa: PLC0415

    from penstock.storage.ledger.postgres_steps import numbered  # noqa: PLC0415

    db = await asyncpg.connect(url)
    try:
        for day in days:
            async with db.transaction():
                steps: Steps[None] = change_cells(day)
                rows: list[Row] | None = None
                while (statement := _next(steps, rows)) is not None:
                    rows = await db.fetch(numbered(statement.sql), *statement.values)
            tell()
        await db.execute("ANALYZE media_cells, media_sketches")
    finally:
        await db.close()
