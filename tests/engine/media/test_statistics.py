import math
import random
from collections import defaultdict
from dataclasses import replace
from statistics import fmean

import pytest

from penstock.engine.media.metrics import MediaStatus
from penstock.engine.media.rollup import (
    ALL_MEDIA,
    Cell,
    CellKey,
    Dimension,
    Standing,
    changes,
)
from penstock.engine.media.sketch import RELATIVE_ERROR
from penstock.engine.media.statistics import (
    Period,
    bandwidth_statistics,
    session_statistics,
)

HOURS = 30
COUNTRIES = ("RO", "IT", "unknown")


def _session(number: int, dice: random.Random) -> Standing:
    status = dice.choice(list(MediaStatus))
    played = dice.random() < 0.8
    return Standing(
        session_id=str(number),
        media_id=dice.choice(["squat", "lunge"]),
        hour_unix=3600 * dice.randrange(HOURS),
        status=status,
        errored=dice.random() < 0.1,
        country_code=dice.choice(COUNTRIES),
        device_type=dice.choice(["mobile", "desktop"]),
        connection_type="wifi",
        browser_family="Firefox",
        ttfb_ms=round(dice.lognormvariate(5.5, 0.8)) if dice.random() < 0.9 else None,
        load_time_ms=round(dice.lognormvariate(7, 0.5)),
        buffering_count=dice.randrange(4) if played else None,
        buffering_duration_ms=round(dice.expovariate(1 / 400)) if played else None,
        bitrate_bps=dice.randrange(5_000_000) if played else None,
        watch_time_ms=dice.randrange(200_000),
        completion_basis_points=dice.randrange(10_001) if played else None,
    )


@pytest.fixture(scope="module")
def sessions() -> list[Standing]:
    """Give some hundred sessions over thirty hours."""
    dice = random.Random(7)  # noqa: S311
    return [_session(number, dice) for number in range(800)]


@pytest.fixture(scope="module")
def cells(sessions: list[Standing]) -> dict[CellKey, Cell]:
    """Give the rollup of the sessions, each counted as active before it was what it is."""
    found: defaultdict[CellKey, Cell] = defaultdict(Cell)
    for standing in sessions:
        active = replace(standing, status=MediaStatus.ACTIVE, watch_time_ms=0, ttfb_ms=None)
        for change in (*changes(None, active), *changes(active, standing)):
            change.apply(found[change.key])
    return found


def _pick(
    cells: dict[CellKey, Cell], dimension: Dimension, since: int, media_id: str
) -> list[tuple[str, Cell]]:
    return [
        (key.value, cell)
        for key, cell in cells.items()
        if key.dimension is dimension and key.hour_unix >= since and key.media_id == media_id
    ]


def _mean(values: list[int | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _approximately(value: float | None) -> object:
    return None if value is None else pytest.approx(value)


@pytest.mark.parametrize("dimension", [Dimension.COUNTRY_CODE, Dimension.DEVICE_TYPE])
@pytest.mark.parametrize("media_id", [ALL_MEDIA, "squat"])
def test_bandwidth_is_what_a_scan_of_all_sessions_gives(
    sessions: list[Standing], cells: dict[CellKey, Cell], dimension: Dimension, media_id: str
) -> None:
    """Every count, mean and rate is exact, in a window and for one medium as well."""
    since = 3600 * 10
    found = bandwidth_statistics(_pick(cells, dimension, since, media_id))
    scanned = [s for s in sessions if s.hour_unix >= since and media_id in {"", s.media_id}]
    assert {one.value for one in found} == {getattr(s, dimension) for s in scanned}
    assert [one.total_sessions for one in found] == sorted(
        (one.total_sessions for one in found), reverse=True
    )
    for one in found:
        own = [s for s in scanned if getattr(s, dimension) == one.value]
        over = [s for s in own if s.status is not MediaStatus.ACTIVE]
        completed = sum(s.status is MediaStatus.COMPLETED for s in own)
        assert one.total_sessions == len(own)
        assert one.avg_ttfb_ms == _approximately(_mean([s.ttfb_ms for s in own]))
        assert one.avg_load_time_ms == _approximately(_mean([s.load_time_ms for s in own]))
        assert one.avg_buffering_count == _approximately(_mean([s.buffering_count for s in own]))
        assert one.avg_buffering_duration_ms == _approximately(
            _mean([s.buffering_duration_ms for s in own])
        )
        assert one.avg_bitrate == _approximately(_mean([s.bitrate_bps for s in own]))
        assert one.completion_rate == completed / len(over)
        assert one.error_rate == sum(s.errored for s in own) / len(own)


@pytest.mark.parametrize("status", [None, *MediaStatus])
def test_sessions_are_what_a_scan_of_all_sessions_gives(
    sessions: list[Standing], cells: dict[CellKey, Cell], status: MediaStatus | None
) -> None:
    """Counts and means are exact, and quantiles within the sketch's bound, for each status."""
    found = session_statistics(_pick(cells, Dimension.STATUS, 0, ALL_MEDIA), status)
    own = [s for s in sessions if status in {None, s.status}]
    assert found.total_sessions == len(own)
    assert found.completed == sum(s.status is MediaStatus.COMPLETED for s in own)
    assert found.abandoned == sum(s.status is MediaStatus.ABANDONED for s in own)
    assert found.active == sum(s.status is MediaStatus.ACTIVE for s in own)
    assert found.avg_watch_time_seconds == pytest.approx(fmean(s.watch_time_ms for s in own) / 1000)
    percent = _mean([s.completion_basis_points for s in own])
    assert percent is not None
    assert found.avg_completion_percent == pytest.approx(percent / 100)
    for quantiles, name in (
        (found.ttfb_ms, "ttfb_ms"),
        (found.load_time_ms, "load_time_ms"),
        (found.buffer_duration_ms, "buffering_duration_ms"),
    ):
        values = sorted(v for s in own if (v := getattr(s, name)) is not None)
        for estimate, share in zip(quantiles, (0.50, 0.95), strict=True):
            exact = values[math.floor(share * (len(values) - 1))]
            assert estimate == pytest.approx(exact, rel=RELATIVE_ERROR * (1 + 1e-9), abs=0)


def test_nothing_has_no_means() -> None:
    """Without sessions there are counts of 0, and figures that nobody knows."""
    found = session_statistics([])
    assert (found.total_sessions, found.avg_watch_time_seconds, found.ttfb_ms.p95) == (
        0,
        None,
        None,
    )
    assert bandwidth_statistics([("RO", Cell())]) == []


def test_what_is_not_over_has_no_completion_rate(sessions: list[Standing]) -> None:
    """Sessions that still play have not failed to complete."""
    cell = Cell()
    cell.add(next(s for s in sessions if s.status is MediaStatus.ACTIVE), sketched=False)
    assert bandwidth_statistics([("RO", cell)])[0].completion_rate is None


@pytest.mark.parametrize(
    ("period", "hours"),
    [(Period.HOUR, 1), (Period.DAY, 24), (Period.WEEK, 168), (Period.MONTH, 720)],
)
def test_a_window_covers_its_period(period: Period, hours: int) -> None:
    """It begins on the hour, with at most an hour more than was asked for."""
    now = 1_780_000_123.9
    start = period.window_start_unix(now)
    assert start % 3600 == 0
    assert now - 3600 * (hours + 1) < start <= now - 3600 * hours
